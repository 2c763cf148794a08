metadata description = 'A key vault, in which the workspace keeps the secrets of its connections.'

@description('Name of the key vault: 3 to 24 letters, digits and hyphens, unique in Azure.')
param name string

@description('Azure region.')
param location string

@description('Tags of the resource.')
param tags { *: string }

@description('Whether a deleted vault must wait out its retention before it can be purged.')
param purgeProtection bool

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    // The minimum that Azure allows: the vault's name is available again after a week, or once it is purged.
    softDeleteRetentionInDays: 7
    // Azure rejects false: omit the property to turn it off.
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: 'Enabled'
  }
}
