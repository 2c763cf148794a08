"""The project's own assets and checks, from the conversations to the registered model, by `dg.materialize`."""

import dagster as dg
import pytest

from phi_assets.settings import current
from tests.contracts.conftest import small_world

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
MADE = (
    "ml_workspace",
    "training_compute",
    "training_environment",
    "chat_dataset",
    "base_model",
    "replay_conversations",
    "fine_tuned_model",
    "model_evaluation",
    "registered_model",
)


@pytest.fixture
def definitions(tmp_path, monkeypatch):
    """The definitions, loaded for a home in a temporary folder."""
    others = {"PHI_PROMOTE_ON_INSUFFICIENT_EVIDENCE": "true"}
    for name, value in {**small_world(tmp_path), **others}.items():
        monkeypatch.setenv(name, value)
    current.cache_clear()
    from phi_assets.definitions import definitions

    yield definitions()
    current.cache_clear()


def test_from_the_conversations_to_the_registered_model(definitions: dg.Definitions):
    parts = [*(definitions.assets or []), *(definitions.asset_checks or [])]
    with dg.DagsterInstance.ephemeral() as instance:
        done = dg.materialize(
            parts,  # type: ignore[arg-type]
            selection=list(MADE),
            resources=definitions.resources,
            instance=instance,
            raise_on_error=False,
        )

        verdicts = {each.check_name: each.passed for each in done.get_asset_check_evaluations()}
        made = {
            key.to_user_string() for key in instance.get_asset_keys() if instance.get_latest_materialization_event(key)
        }
    assert done.success
    assert set(MADE) == made
    assert len(verdicts) > 5
