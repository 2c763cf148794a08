metadata description = 'Application Insights, to which the workspace and its endpoints report.'

@description('Name of the component.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

@description('Resource id of the Log Analytics workspace that keeps the records.')
param logAnalyticsId string

resource component 'Microsoft.Insights/components@2020-02-02' = {
  name: name
  location: location
  tags: tags
  kind: 'web'
  properties: {
    Application_Type: 'web'
    IngestionMode: 'LogAnalytics'
    WorkspaceResourceId: logAnalyticsId
  }
}
