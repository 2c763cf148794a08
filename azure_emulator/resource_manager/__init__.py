"""Azure Resource Manager: resources, deployments, quota, providers and roles."""
