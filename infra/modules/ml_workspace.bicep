metadata description = 'The Azure Machine Learning workspace, with its own identity and its four companions.'

@description('Name of the workspace: 3 to 33 letters, digits, hyphens and underscores.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

@description('Resource id of the storage account behind the workspace\'s own datastores.')
param storageAccountId string

@description('Resource id of the key vault that keeps its secrets.')
param keyVaultId string

@description('Resource id of the Application Insights component to which it reports.')
param applicationInsightsId string

@description('Resource id of the container registry that keeps the images it builds.')
param containerRegistryId string

@description('How its own datastores are opened: with the account\'s key, or as whoever asks.')
@allowed(['AccessKey', 'Identity'])
param datastoreAuthMode string

resource workspace 'Microsoft.MachineLearningServices/workspaces@2026-05-01' = {
  name: name
  location: location
  tags: tags
  kind: 'Default'
  sku: { name: 'Basic', tier: 'Basic' }
  identity: { type: 'SystemAssigned' }
  properties: {
    friendlyName: name
    storageAccount: storageAccountId
    keyVault: keyVaultId
    applicationInsights: applicationInsightsId
    containerRegistry: containerRegistryId
    systemDatastoresAuthMode: datastoreAuthMode
    publicNetworkAccess: 'Enabled'
    v1LegacyMode: false
  }
}
