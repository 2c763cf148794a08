metadata description = 'A user-assigned managed identity: that of jobs and endpoints, or that of the chat.'

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
