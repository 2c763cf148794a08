metadata description = 'The user-assigned managed identity that jobs and endpoints run as.'

@description('Name of the identity: 3 to 128 letters, digits, hyphens and underscores.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: name
  location: location
  tags: tags
}
