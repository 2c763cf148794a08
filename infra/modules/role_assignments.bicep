metadata description = 'Who may do what: the role assignments of jobs and of whoever deploys.'

@description('One role, given to one principal, on one resource.')
type grant = {
  @description('Who gets it: the identity that jobs run as, or whoever deploys.')
  to: 'job' | 'deployer'

  @description('Asset name of the resource on which it holds.')
  on: 'resource_group' | 'storage_account' | 'container_registry' | 'ml_workspace'

  @description('Id of the built-in role.')
  role: string

  @description('Name of the assignment: the same for the same principal, role and resource, so that it is made once.')
  name: string
}

@description('Name of the storage account.')
param storageAccountName string

@description('Name of the container registry.')
param containerRegistryName string

@description('Name of the Azure Machine Learning workspace.')
param workspaceName string

@description('Name of the managed identity that jobs run as.')
param identityName string

@description('Object id of whoever deploys.')
param deployerId string

@description('What the deployer is: User, ServicePrincipal or Group.')
param deployerType string

@description('The assignments to make.')
param grants grant[]

resource storage 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageAccountName
}

resource registry 'Microsoft.ContainerRegistry/registries@2025-11-01' existing = {
  name: containerRegistryName
}

resource workspace 'Microsoft.MachineLearningServices/workspaces@2026-05-01' existing = {
  name: workspaceName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

// A new principal takes a while to replicate in Entra: principalType ServicePrincipal skips the lookup, which would fail
// with PrincipalNotFound.
resource onGroup 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'resource_group'): {
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.to == 'job' ? identity.properties.principalId : deployerId
      principalType: grant.to == 'job' ? 'ServicePrincipal' : deployerType
    }
  }
]

resource onStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'storage_account'): {
    scope: storage
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.to == 'job' ? identity.properties.principalId : deployerId
      principalType: grant.to == 'job' ? 'ServicePrincipal' : deployerType
    }
  }
]

resource onRegistry 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'container_registry'): {
    scope: registry
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.to == 'job' ? identity.properties.principalId : deployerId
      principalType: grant.to == 'job' ? 'ServicePrincipal' : deployerType
    }
  }
]

resource onWorkspace 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for grant in filter(grants, grant => grant.on == 'ml_workspace'): {
    scope: workspace
    name: grant.name
    properties: {
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.role)
      principalId: grant.to == 'job' ? identity.properties.principalId : deployerId
      principalType: grant.to == 'job' ? 'ServicePrincipal' : deployerType
    }
  }
]
