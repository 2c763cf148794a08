"""`phi ask`: whom it asks, what it says when there is no answer, and that it starts quickly."""

import subprocess
import sys
from pathlib import Path

import pytest

from phi_assets.backends.local.serving.home_endpoint import endpoint_of_home
from phi_assets.backends.local.serving.state import DeploymentState, EndpointState, write_state
from phi_assets.backends.select import ServedModel, build_resources, served_model
from phi_assets.cli import ask
from phi_assets.endpoint_client import NoAnswer
from phi_assets.files import atomic_write
from phi_assets.records import Deployment
from phi_assets.settings import read

DEPLOYMENT = Deployment(
    digest="d",
    endpoint="e",
    name="n",
    model_name="m",
    model_version="1",
    model_digest="d",
    dataset_digest="d",
    training_run="r",
)


def test_who_cannot_be_asked_is_mended_as_its_backend_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def silent(*_: object, **__: object) -> None:
        raise NoAnswer("https://e answered 503: gone")

    served = ServedModel(DEPLOYMENT, "https://e", lambda: "k", "look at the portal", keeps_answers=True)
    monkeypatch.setattr(ask, "served_model", lambda _: served)
    monkeypatch.setattr(ask, "chat", silent)
    with pytest.raises(ask.NothingDeployed, match="503: gone; look at the portal"):
        ask.ask_deployed(read({"PHI_HOME": str(tmp_path)}), "Hello")


def test_a_laptop_is_read_without_dagster_as_its_resources_read_it(tmp_path: Path):
    settings = read({"PHI_HOME": str(tmp_path)})
    state = EndpointState("phi-chat", 4321, "r", {"blue": DeploymentState("blue", "/m", "m", "1", "d", "c", 4322)})
    write_state(endpoint_of_home(settings.state).folder / "state.json", state)
    atomic_write(settings.state / "records" / "online_deployment.json", DEPLOYMENT.to_json())

    served = served_model(settings)
    host = build_resources(settings)["endpoint_host"]
    assert served.deployment == DEPLOYMENT
    assert (served.address, host.status()["address"], host.status()["alive"]) == (None, state.address, False)
    assert (served.remedy, served.keeps_answers) == (host.remedy, host.keeps_answers)
    with pytest.raises(ask.NothingDeployed, match="phi run"):
        ask.ask_deployed(settings, "Hello")


def test_a_question_waits_for_no_import_of_dagster(tmp_path: Path):
    program = (
        "import sys\n"
        "from phi_assets.cli import ask, main\n"
        "from phi_assets.settings import current\n"
        "try:\n"
        "    ask.ask_deployed(current(), 'Hello')\n"
        "except ask.NothingDeployed:\n"
        "    print(sorted({'dagster', 'mlflow', 'torch', 'transformers'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PATH": "/usr/bin:/bin", "PHI_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
