"""The check of the date on which Prompt flow is retired; it decides nothing, and blocks nothing."""

import datetime as dt

import dagster as dg

from phi_assets import markdown
from phi_assets.prompt_flow import retirement


@dg.asset_check(
    asset="chat_flow", description=f"Prompt flow is retired on {retirement.ON}: warns from {retirement.WARN_FROM} on."
)
def time_left() -> dg.AssetCheckResult:
    passed, described = retirement.judged(dt.date.today())
    metadata = {"retired_on": str(retirement.ON), "source": dg.MetadataValue.url(retirement.SOURCE)}
    return dg.AssetCheckResult(
        passed=passed, severity=dg.AssetCheckSeverity.WARN, description=markdown.text(described), metadata=metadata
    )
