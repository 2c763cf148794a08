"""The check of the training environment against its lock file."""

import dagster as dg

from phi_assets import markdown
from phi_assets.ports.infrastructure import Provisioner


@dg.asset_check(asset="training_environment", description="The packages that training uses are the locked ones.")
def installed_as_locked(provisioner: Provisioner) -> dg.AssetCheckResult:
    differing = provisioner.differing_packages()
    return dg.AssetCheckResult(
        passed=not differing,
        severity=dg.AssetCheckSeverity.WARN,
        description=markdown.text("; ".join(differing) or "every package that training uses has its locked version"),
    )
