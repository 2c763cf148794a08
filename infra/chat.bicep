targetScope = 'subscription'

metadata name = 'phi-assets-chat'
metadata description = 'What only the chat needs, in the group of main.bicep. A region that refuses it stops nothing else.'

@description('Name of this installation, as in main.bicep.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of every resource, as in main.bicep.')
@minLength(1)
param location string

@description('Object id in Microsoft Entra of the person or service that deploys and takes feedback in.')
@minLength(36)
@maxLength(36)
param principalId string

@description('Digest of template and parameters, by which a finished deployment is known again.')
param templateHash string = ''

// As in main.bicep.
var token = uniqueString(subscription().subscriptionId, toLower(environmentName), toLower(replace(location, ' ', '')))

var groupName = 'rg-${environmentName}'
var names = {
  application_insights: 'appi-${token}'
  log_analytics: 'log-${token}'
  container_registry: 'cr${token}'
  chat_database: 'cosmos-${token}'
  chat_environment: 'cae-${token}'
  chat_identity: 'id-chat-${token}'
}
var chat = { database: 'chat', conversations: 'conversations', feedback: 'feedback' }

// Computed from the names: a module's output is known only after its deployment.
var groupId = subscriptionResourceId('Microsoft.Resources/resourceGroups', groupName)
var databaseId = '${groupId}/providers/Microsoft.DocumentDB/databaseAccounts/${names.chat_database}'
var ids = {
  chat_database: databaseId
  chat_container: '${databaseId}/sqlDatabases/${chat.database}/containers/${chat.conversations}'
  chat_feedback: '${databaseId}/sqlDatabases/${chat.database}/containers/${chat.feedback}'
  chat_environment: '${groupId}/providers/Microsoft.App/managedEnvironments/${names.chat_environment}'
  chat_identity: '${groupId}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${names.chat_identity}'
}
// Resources of main.bicep on which the chat has roles.
var foundation = {
  container_registry: '${groupId}/providers/Microsoft.ContainerRegistry/registries/${names.container_registry}'
  application_insights: '${groupId}/providers/Microsoft.Insights/components/${names.application_insights}'
}
var containerPaths = {
  chat_container: 'dbs/${chat.database}/colls/${chat.conversations}'
  chat_feedback: 'dbs/${chat.database}/colls/${chat.feedback}'
}

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = {
  AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
  'Monitoring Metrics Publisher': '3913510d-42f4-4e42-8a64-420c390055eb'
  // Roles of Cosmos DB, not of Azure: they are defined in each account.
  'Cosmos DB Built-in Data Reader': '00000000-0000-0000-0000-000000000001'
  'Cosmos DB Built-in Data Contributor': '00000000-0000-0000-0000-000000000002'
}

// The path between a resource's id and the name of an assignment on it.
var azureRoles = 'providers/Microsoft.Authorization/roleAssignments'

// docs/decisions/0009 and 0029 give the reasons. Its role on the endpoint is given when that exists.
var chatRoles = [
  { to: 'chat', on: 'container_registry', role: 'AcrPull' }
  { to: 'chat', on: 'application_insights', role: 'Monitoring Metrics Publisher' }
  { to: 'chat', on: 'chat_container', role: 'Cosmos DB Built-in Data Contributor' }
  { to: 'chat', on: 'chat_feedback', role: 'Cosmos DB Built-in Data Contributor' }
  { to: 'deployer', on: 'chat_feedback', role: 'Cosmos DB Built-in Data Reader' }
]
var grants = map(chatRoles, grant => {
  to: grant.to
  on: grant.on
  role: roles[grant.role]
  name: guid(union(ids, foundation)[grant.on], grant.to == 'chat' ? ids.chat_identity : principalId, roles[grant.role])
})

var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' existing = {
  name: groupName
}

module identity 'modules/managed_identity.bicep' = {
  name: 'chat-identity'
  scope: group
  params: {
    name: names.chat_identity
    location: location
    tags: tags
  }
}

module database 'modules/chat_database.bicep' = {
  name: 'chat-database'
  scope: group
  params: {
    name: names.chat_database
    location: location
    tags: tags
    databaseName: chat.database
    conversationsName: chat.conversations
    feedbackName: chat.feedback
  }
}

module environment 'modules/chat_environment.bicep' = {
  name: 'chat-environment'
  scope: group
  params: {
    name: names.chat_environment
    location: location
    tags: tags
    logAnalyticsName: names.log_analytics
  }
}

module assignments 'modules/chat_role_assignments.bicep' = {
  name: 'chat-role-assignments'
  scope: group
  params: {
    containerRegistryName: names.container_registry
    applicationInsightsName: names.application_insights
    databaseAccountName: names.chat_database
    containerPaths: containerPaths
    identityName: names.chat_identity
    deployerId: principalId
    grants: grants
  }
  dependsOn: [database, identity]
}

@description('Digest of template and parameters.')
output templateHash string = templateHash

@description('Resource id of each resource, by its name in the graph.')
output resources { *: string } = ids

@description('Resource id of every role assignment made, Azure\'s and Cosmos DB\'s.')
output roleAssignments string[] = map(
  grants,
  grant =>
    contains(containerPaths, grant.on)
      ? '${databaseId}/sqlRoleAssignments/${grant.name}'
      : '${union(ids, foundation)[grant.on]}/${azureRoles}/${grant.name}'
)
