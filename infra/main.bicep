targetScope = 'subscription'

metadata name = 'phi-assets'
metadata description = 'All that phi-assets trains and serves with in an Azure subscription, in one resource group.'

// The limits of azd; those of PHI_AZURE_NAME are tighter.
@description('Name of this installation: PHI_AZURE_NAME of phi-assets, AZURE_ENV_NAME of azd. The group is rg-<name>.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Azure region of every resource, such as eastus2. Azure ML must offer Standard_NC24ads_A100_v4 there.')
@minLength(1)
param location string

@description('Object id in Microsoft Entra of the person or service that deploys and submits jobs.')
@minLength(36)
@maxLength(36)
param principalId string

@description('What principalId is: a person, a service principal or a group.')
@allowed(['User', 'ServicePrincipal', 'Group'])
param principalType string = 'User'

@description('keyless: no shared keys, and the least roles that work. guide: the guide\'s own roles, keys on.')
@allowed(['keyless', 'guide'])
param accessMode string = 'keyless'

@description('Whether a deleted key vault cannot be purged before its retention ends. It can never be taken back.')
param purgeProtection bool = false

@description('Digest of template and parameters, kept as a tag on the group to tell when they change. Empty: no tag.')
param templateHash string = ''

// Storage accounts, vaults and registries share one namespace with all of Azure.
// Normalised, so that another spelling of name or region, such as 'East US 2', is the same installation.
var token = uniqueString(subscription().subscriptionId, toLower(environmentName), toLower(replace(location, ' ', '')))

var groupName = 'rg-${environmentName}'
var names = {
  storage_account: 'st${token}'
  key_vault: 'kv-${token}'
  application_insights: 'appi-${token}'
  log_analytics: 'log-${token}'
  container_registry: 'cr${token}'
  managed_identity: 'id-${token}'
  ml_workspace: 'mlw-${token}'
}

// Computed from the names: a module's output is known only after its deployment.
var groupId = subscriptionResourceId('Microsoft.Resources/resourceGroups', groupName)
var ids = {
  resource_group: groupId
  storage_account: '${groupId}/providers/Microsoft.Storage/storageAccounts/${names.storage_account}'
  key_vault: '${groupId}/providers/Microsoft.KeyVault/vaults/${names.key_vault}'
  application_insights: '${groupId}/providers/Microsoft.Insights/components/${names.application_insights}'
  log_analytics: '${groupId}/providers/Microsoft.OperationalInsights/workspaces/${names.log_analytics}'
  container_registry: '${groupId}/providers/Microsoft.ContainerRegistry/registries/${names.container_registry}'
  managed_identity: '${groupId}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/${names.managed_identity}'
  ml_workspace: '${groupId}/providers/Microsoft.MachineLearningServices/workspaces/${names.ml_workspace}'
}

// https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
var roles = {
  Contributor: 'b24988ac-6180-42a0-ab88-20f7382dd24c'
  'Storage Blob Data Contributor': 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
  'Storage Blob Data Reader': '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
  AcrPull: '7f951dda-4ed3-4680-a7ca-43fe172d538d'
  'AzureML Data Scientist': 'f6c7c914-8db3-469d-8ca1-694a8f32e121'
}

// The role assignments. docs/decisions/0009 gives the reason for each, and for leaving out others.
var jobRoles = {
  keyless: [
    { to: 'job', on: 'storage_account', role: 'Storage Blob Data Contributor' }
    { to: 'job', on: 'container_registry', role: 'AcrPull' }
    { to: 'job', on: 'ml_workspace', role: 'AzureML Data Scientist' }
  ]
  guide: [
    { to: 'job', on: 'resource_group', role: 'Contributor' }
    { to: 'job', on: 'storage_account', role: 'Storage Blob Data Reader' }
    { to: 'job', on: 'container_registry', role: 'AcrPull' }
  ]
}
var rolesInBothModes = [
  { to: 'deployer', on: 'storage_account', role: 'Storage Blob Data Contributor' }
]
var grants = map(concat(jobRoles[accessMode], rolesInBothModes), grant => {
  to: grant.to
  on: grant.on
  role: roles[grant.role]
  // Uses the identity's resource id and not its principal id, because it is known before the identity exists.
  name: guid(ids[grant.on], grant.to == 'job' ? ids.managed_identity : principalId, roles[grant.role])
})

var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: groupName
  location: location
  tags: empty(templateHash) ? tags : union(tags, { 'phi-template-hash': templateHash })
}

module storage 'modules/storage_account.bicep' = {
  scope: group
  params: {
    name: names.storage_account
    location: location
    tags: tags
    allowSharedKeyAccess: accessMode == 'guide'
  }
}

module vault 'modules/key_vault.bicep' = {
  scope: group
  params: {
    name: names.key_vault
    location: location
    tags: tags
    purgeProtection: purgeProtection
  }
}

module logs 'modules/log_analytics.bicep' = {
  scope: group
  params: {
    name: names.log_analytics
    location: location
    tags: tags
  }
}

module insights 'modules/application_insights.bicep' = {
  scope: group
  params: {
    name: names.application_insights
    location: location
    tags: tags
    logAnalyticsId: ids.log_analytics
  }
  dependsOn: [logs]
}

module registry 'modules/container_registry.bicep' = {
  scope: group
  params: {
    name: names.container_registry
    location: location
    tags: tags
  }
}

module identity 'modules/managed_identity.bicep' = {
  scope: group
  params: {
    name: names.managed_identity
    location: location
    tags: tags
  }
}

module workspace 'modules/ml_workspace.bicep' = {
  scope: group
  params: {
    name: names.ml_workspace
    location: location
    tags: tags
    storageAccountId: ids.storage_account
    keyVaultId: ids.key_vault
    applicationInsightsId: ids.application_insights
    containerRegistryId: ids.container_registry
    datastoreAuthMode: accessMode == 'guide' ? 'AccessKey' : 'Identity'
  }
  dependsOn: [storage, vault, insights, registry]
}

module assignments 'modules/role_assignments.bicep' = {
  scope: group
  params: {
    storageAccountName: names.storage_account
    containerRegistryName: names.container_registry
    workspaceName: names.ml_workspace
    identityName: names.managed_identity
    deployerId: principalId
    deployerType: principalType
    grants: grants
  }
  dependsOn: [storage, registry, workspace, identity]
}

@description('Resource id of each resource, by the name of its asset.')
output resources { *: string } = ids

@description('Resource id of every role assignment made.')
output roleAssignments string[] = map(
  grants,
  grant => '${ids[grant.on]}/providers/Microsoft.Authorization/roleAssignments/${grant.name}'
)

@description('Name of the resource group.')
output AZURE_RESOURCE_GROUP string = groupName

@description('Name of the storage account.')
output AZURE_STORAGE_ACCOUNT string = names.storage_account

@description('Name of the key vault.')
output AZURE_KEY_VAULT string = names.key_vault

@description('Name of the Application Insights component.')
output AZURE_APPLICATION_INSIGHTS string = names.application_insights

@description('Name of the Log Analytics workspace.')
output AZURE_LOG_ANALYTICS string = names.log_analytics

@description('Name of the container registry.')
output AZURE_CONTAINER_REGISTRY string = names.container_registry

@description('Name of the identity that jobs run as.')
output AZURE_MANAGED_IDENTITY string = names.managed_identity

@description('Name of the Azure Machine Learning workspace.')
output AZURE_ML_WORKSPACE string = names.ml_workspace
