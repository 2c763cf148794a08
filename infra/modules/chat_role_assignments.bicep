metadata description = 'Who may do what with the chat: Azure\'s role assignments, and those that Cosmos DB keeps for its data.'

@description('One role, given to one principal, on one resource.')
type grant = {
  @description('Who gets it: the identity of the chat, or whoever deploys.')
  to: 'chat' | 'deployer'

  @description('Name of the resource on which it holds.')
  on: 'container_registry' | 'application_insights' | 'chat_container' | 'chat_feedback'

  @description('Id of the built-in role.')
  role: string

  @description('Name of the assignment: the same for the same principal, role and resource, so that it is made once.')
  name: string
}

@description('Name of the container registry.')
param containerRegistryName string

@description('Name of the Application Insights component.')
param applicationInsightsName string

@description('Name of the Cosmos DB account.')
param databaseAccountName string

@description('Path in the account of each container, by the name of the resource.')
param containerPaths { *: string }

@description('Name of the managed identity of the chat.')
param identityName string

@description('Object id of whoever deploys.')
param deployerId string

@description('The assignments to make.')
param grants grant[]

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: containerRegistryName
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: applicationInsightsName
}

resource database 'Microsoft.DocumentDB/databaseAccounts@2025-10-15' existing = {
  name: databaseAccountName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

// A new principal takes a while to replicate in Entra: principalType ServicePrincipal skips the lookup, which would fail
// with PrincipalNotFound.
resource onRegistry 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'container_registry'): {
    scope: registry
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
    }
  }
]

resource onInsights 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'application_insights'): {
    scope: insights
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: identity.properties.principalId
      principalType: 'ServicePrincipal'
    }
  }
]

// On single containers: of all that get a role here, only the chat itself can read conversations.
// Sequential: an account accepts one change at a time.
@batchSize(1)
resource onDatabase 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-10-15' = [
  for grant in filter(grants, grant => contains(containerPaths, grant.on)): {
    parent: database
    name: grant.name
    properties: {
      roleDefinitionId: '${database.id}/sqlRoleDefinitions/${grant.role}'
      principalId: grant.to == 'chat' ? identity.properties.principalId : deployerId
      scope: '${database.id}/${containerPaths[grant.on]}'
    }
  }
]
