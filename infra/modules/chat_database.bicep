metadata description = 'A serverless Cosmos DB account, with a database and a container for the chat history.'

@description('Name of the account: 3 to 44 lower-case letters, digits and hyphens, unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

@description('Name of the database.')
param databaseName string

@description('Name of the container: one item is one turn of a conversation.')
param containerName string

// A conversation stays far below the limit of 20 GB per partition, and conversations are distributed evenly.
@description('Partition key of the container: turns are written and read a conversation at a time, from one partition.')
param partitionKey string = '/conversation_id'

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

    resource container 'containers' = {
      name: containerName
      tags: tags
      properties: {
        resource: {
          id: containerName
          partitionKey: { kind: 'Hash', paths: [partitionKey], version: 2 }
        }
      }
    }
  }
}
