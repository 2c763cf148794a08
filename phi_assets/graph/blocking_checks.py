"""The blocking checks of each asset, as the modules that define them declare them."""

from collections.abc import Mapping

import dagster as dg

BLOCKING: dict[str, tuple[str, ...]] = {}
"""The blocking checks of each asset, from `blocking`. Every asset directly downstream requires their verdicts."""

VALID_HOURS: dict[str, float] = {"gpu_quota": 24.0}
"""For how long the verdicts on an asset open what is downstream, where the world may change and the version does not.

Longer than a run takes: the evaluation requires them too, after the training.
"""

CHECKED_IN: dict[str, set[str]] = {}
"""The modules that declare an asset's blocking checks: their code decides what may follow."""

RULE_SETTINGS: dict[str, set[str]] = {}
"""The settings that an asset's blocking checks judge by."""


def blocking(
    module: str, asset: str, checks: Mapping[str, str], settings: tuple[str, ...] = ()
) -> list[dg.AssetCheckSpec]:
    """Declare blocking checks of an asset: name and description of each, and the settings that they judge by.

    `module` is the caller's `__name__`. A verdict counts while the code of the module and these settings stay the same.
    """
    BLOCKING[asset] = tuple(dict.fromkeys((*BLOCKING.get(asset, ()), *checks)))
    CHECKED_IN.setdefault(asset, set()).add(module)
    RULE_SETTINGS.setdefault(asset, set()).update(settings)
    return [dg.AssetCheckSpec(name, asset=asset, blocking=True, description=text) for name, text in checks.items()]
