"""Links to the Azure portal and Azure ML Studio."""


def link(resource_id: str, page: str = "overview") -> str:
    """The resource's page in the Azure portal."""
    return f"https://portal.azure.com/#resource{resource_id}/{page}"


def studio(workspace_id: str, page: str = "home") -> str:
    """The workspace in Azure ML Studio."""
    return f"https://ml.azure.com/{page}?wsid={workspace_id}"


def quota() -> str:
    """The portal's page of a subscription's quotas, where increases are requested."""
    return "https://portal.azure.com/#view/Microsoft_Azure_Capacity/QuotaMenuBlade/~/myQuotas"
