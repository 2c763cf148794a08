metadata description = 'A serverless Cosmos DB account, with a database and the containers of the chat history.'

@description('Name of the account: 3 to 44 lower-case letters, digits and hyphens, unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

@description('Name of the database.')
param databaseName string

@description('Name of the container of conversations: an item is a message, or the header of a conversation.')
param conversationsName string

@description('Name of the container of answers that may be used for training: an item is a copy of a rated answer.')
param feedbackName string

// Every read and write names the person, so none reaches another's partition. One person stays far below its 20 GB.
var partitionKey = { kind: 'Hash', paths: ['/user_id'], version: 2 }

// Long texts are searched within one person's partition only; an index of them would cost more at each write.
var containers = [
  {
    name: conversationsName
    notIndexed: ['/content/?', '/served/*']
    // ORDER BY over two properties is refused without it.
    compositeIndexes: [
      [{ path: '/kind', order: 'ascending' }, { path: '/updated', order: 'descending' }]
    ]
  }
  {
    name: feedbackName
    notIndexed: ['/message/*', '/turns/*']
    compositeIndexes: []
  }
]

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-10-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    capabilities: [{ name: 'EnableServerless' }]
    consistencyPolicy: { defaultConsistencyLevel: 'Session' }
    disableLocalAuth: true
    locations: [{ locationName: location, failoverPriority: 0, isZoneRedundant: false }]
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: 'Enabled'
  }

  resource database 'sqlDatabases' = {
    name: databaseName
    tags: tags
    properties: { resource: { id: databaseName } }

    // Sequential: an account accepts one change at a time.
    @batchSize(1)
    resource container 'containers' = [
      for container in containers: {
        name: container.name
        tags: tags
        properties: {
          resource: {
            id: container.name
            partitionKey: partitionKey
            defaultTtl: -1 // an item expires when it says so itself
            indexingPolicy: {
              indexingMode: 'consistent'
              automatic: true
              includedPaths: [{ path: '/*' }]
              excludedPaths: map(concat(container.notIndexed, ['/"_etag"/?']), path => { path: path })
              compositeIndexes: container.compositeIndexes
            }
          }
        }
      }
    ]
  }
}
