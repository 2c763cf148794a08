"""New ratings and reviews are observed by `phi run`, and start a run by themselves, once."""

import dagster as dg
import pytest

from phi_assets.databases import CHAT_HISTORY
from phi_assets.definitions import definitions
from phi_assets.settings import current
from tests.support.chat_ratings import rated, store


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PHI_HOME", str(tmp_path))
    current.cache_clear()
    yield tmp_path
    current.cache_clear()


def test_phi_run_observes_ratings_and_reviews():
    job = definitions().resolve_job_def("observe_sources")
    observed = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert {"raw_conversations", "chat_history", "reviewed_feedback"} <= observed


def test_a_new_rating_starts_one_run_of_what_is_made_of_it(home):
    graph = definitions()
    sensor = graph.get_repository_def().get_sensor_def("chat_feedback")
    resources = graph.resources or {}

    def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
        with dg.build_sensor_context(instance=instance, resources=resources, definitions=graph) as context:
            result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        for event in result.asset_events:
            assert isinstance(event, dg.AssetObservation)
            instance.report_runless_asset_event(event)
        return result

    with dg.DagsterInstance.ephemeral() as instance:
        assert not tick(instance).run_requests  # nothing was ever made: `phi run` makes everything first
        store(home / "local" / CHAT_HISTORY, [rated()])
        [request] = tick(instance).run_requests or []
        assert [key.to_user_string() for key in request.asset_selection or []] == [
            "feedback_candidates",
            "feedback_conversations",
        ]
        assert not tick(instance).run_requests
