"""The size of one training in Dagster's event log: a real training of 2,000 steps, with a model of two layers."""

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from phi_assets.instance import home
from phi_assets.settings import current
from tests.contracts.conftest import small_world

pytestmark = [
    pytest.mark.long,
    pytest.mark.integration,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]
MADE = [
    *("ml_workspace", "training_compute", "training_environment"),
    *("chat_dataset", "base_model", "replay_conversations", "fine_tuned_model"),
]
STEPS, MOST_BYTES, MOST_PICTURE_BYTES = 2_000, 50_000, 20_000
LONG = {"packed_length": "64", "epochs": "45", "early_stopping_patience": "0", "log_seconds": "1"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The home's Dagster after a training of at least 2,000 steps that could report each second."""
    folder = tmp_path_factory.mktemp("home")
    given = small_world(folder)
    preset = Path(given["PHI_PRESET"])
    kept = [line for line in preset.read_text(encoding="utf-8").splitlines() if line.partition(":")[0] not in LONG]
    lines = [*kept, *(f"{name}: {value}" for name, value in LONG.items())]
    preset.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patched:
        for name, value in given.items():
            patched.setenv(name, value)
        current.cache_clear()
        from phi_assets.definitions import definitions

        found = definitions()
        parts = [*(found.assets or []), *(found.asset_checks or [])]
        with home.instance(current()) as instance:
            done = dg.materialize(parts, selection=MADE, resources=found.resources, instance=instance)
            assert done.success
            event = instance.get_latest_materialization_event(dg.AssetKey("fine_tuned_model"))
            assert event
            assert event.asset_materialization
            yield event.asset_materialization.metadata
    current.cache_clear()


def test_a_training_of_two_thousand_steps_takes_less_than_50_kb_of_the_event_log(trained):
    assert trained["steps"].value >= STEPS
    total = 0
    for file in (current().dagster_home / "history" / "runs").glob("*.db"):
        with closing(sqlite3.connect(file)) as events:
            query = "SELECT coalesce(sum(length(CAST(event AS BLOB))), 0) FROM event_logs WHERE step_key = ?"
            total += events.execute(query, ("fine_tuned_model",)).fetchone()[0]

    assert 10_000 < total < MOST_BYTES


def test_its_page_shows_the_loss_curve_and_the_tokens_in_the_loss(trained):
    curve, tokens = trained["loss_curve"].value, trained["tokens_in_loss"].value

    assert curve.startswith("![loss_curve](data:image/png;base64,iVBOR")
    assert len(curve) < MOST_PICTURE_BYTES
    assert "```diff\n  " in tokens
    assert "\n+ In the " in tokens


def test_its_folder_has_the_loss_of_every_step(trained):
    assert "losses" not in trained["report"].value
    report = Path(trained["folder"].value, "report.json").read_text(encoding="utf-8")
    assert report.count('"loss":') >= STEPS
