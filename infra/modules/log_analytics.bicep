metadata description = 'A Log Analytics workspace, in which Application Insights keeps its records.'

@description('Name of the Log Analytics workspace.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    sku: { name: 'PerGB2018' }
    // The longest retention without charge.
    retentionInDays: 30
  }
}
