metadata description = 'A container registry, in which the workspace keeps the images that it builds.'

@description('Name of the registry: 5 to 50 letters and digits, unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: {
    // The admin user has one shared password; AcrPull on an identity gives the same access.
    adminUserEnabled: false
    publicNetworkAccess: 'Enabled'
  }
}
