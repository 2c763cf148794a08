"""The blocking check of what training replays."""

from collections.abc import Iterator

import dagster as dg

from phi_assets.graph import check_gates
from phi_assets.outcome import CheckOutcome
from phi_assets.ports.catalog import AssetCatalog
from phi_assets.ports.training import ReplayStore
from phi_assets.records import Replay
from phi_assets.settings import Settings

DESCRIPTIONS = {
    "apart_from_general_questions": "No replayed conversation holds an answer of a general question, or asks it.",
}


@dg.multi_asset_check(
    specs=check_gates.blocking(__name__, "replay_conversations", DESCRIPTIONS, ("general_questions", "replay"))
)
def replay(
    replay_conversations: Replay,
    replay_store: ReplayStore,
    catalog: AssetCatalog,
    settings: dg.ResourceParam[Settings],
) -> Iterator[dg.AssetCheckResult]:
    """The general questions measure what training forgets: an answer that is replayed would be learned for the test."""
    from phi_assets.conversations.replay_checks import apart

    if settings.replay_sources:
        outcome = apart(replay_store.folder(replay_conversations), settings.general_file)
    else:
        outcome = CheckOutcome(True, "nothing is replayed: PHI_REPLAY=none")
    name = "apart_from_general_questions"
    yield check_gates.check_result(catalog, name, "replay_conversations", replay_conversations.digest, outcome)
