"""Runs that are killed at every step of a deployment: the next run ends with exactly one deployment, which serves."""

import pytest

from phi_assets.records import RegisteredModel
from tests.support import azure_endpoint
from tests.support.azure_endpoint import DIED, Stage
from tests.support.azure_jobs import MARKS
from tests.support.forked_programs import forks

pytestmark = MARKS
STEPS = ["swept", "made", "tested", "a share", "tried", "all traffic", "proven", "marked"]
# The same run dies when Azure has just taken a write, and has not ended it.
WRITES = ["PUT deployment", "PUT all traffic", "DELETE old"]
ALWAYS = ("swept", "a share", "all traffic", "marked", "PUT all traffic")
MOMENTS = [step if step in ALWAYS else pytest.param(step, marks=pytest.mark.long) for step in (*STEPS, *WRITES)]
NEEDED = ("azure.identity", "azure.storage.blob", "azure.mgmt.resource.deployments")


def killed_at(stage: Stage, step: str, model: RegisteredModel) -> None:
    """A run that deploys the model is dead by its own hand, at that step."""
    arguments = [str(stage.place.home), stage.place.name, str(stage.control.state), step, model.to_json()]
    said = stage.place.home / f"until {step}.txt"
    assert forks(azure_endpoint.__name__, *NEEDED).run(said, arguments) == DIED, said.read_text()


@pytest.mark.guide("traffic")
@pytest.mark.parametrize("step", MOMENTS)
def test_a_run_that_is_killed_is_ended_by_the_next(stage: Stage, step):
    model = stage.registered(f"after-{step.replace(' ', '-')}")
    killed_at(stage, step, model)

    record = stage.host().deploy(model, stage.place.log)

    assert stage.serving() == (record.name, model.version)
    stage.whole()


def test_what_a_killed_run_began_is_gone_when_another_model_comes(stage: Stage):
    killed_at(stage, "made", stage.registered("dropped"))

    other = stage.registered("instead-of-dropped")
    record = stage.host().deploy(other, stage.place.log)

    assert stage.serving() == (record.name, other.version)
    stage.whole()
