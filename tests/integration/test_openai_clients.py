"""Four OpenAI clients from PyPI, each in its own way of asking, against the server of an endpoint.

They are installed into an environment of their own: litellm and llm need other releases than the project does.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from serving_code.limits import Limits
from tests.support import openai_clients
from tests.unit.serving_code.conftest import KEY, running_server, write_model

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(1800)]
PROGRAM = Path(openai_clients.__file__)
# What a client has no way to ask for here: `llm` prints text alone, and only OpenAI's own client lists models.
NOT_ASKED = {
    "openai": set[str](),
    "litellm": {"models"},
    "langchain-openai": {"models"},
    "llm": {"stop", "logprobs", "usage", "models"},
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the four clients."""
    folder = tmp_path_factory.mktemp("clients")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", PROGRAM.with_suffix(".txt")]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the clients cannot be installed: {done.stderr.strip().splitlines()[-1]}")
    return python


@pytest.fixture(scope="module")
def found(clients: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("llm")
    model = write_model(tmp_path_factory.mktemp("model"), scale=15.0)
    with running_server(model, Limits(default_temperature=0.0)) as server:
        done = subprocess.run(
            [clients, PROGRAM, f"{server.url}/v1", KEY, "tiny", folder],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("client", NOT_ASKED)
def test_each_client_gets_what_it_asks_for(found: dict[str, dict[str, Any]], client: str):
    each = found[client]
    print(json.dumps(each, indent=1))
    assert {word for word, value in each.items() if value is None} == NOT_ASKED[client]
    answer = found["openai"]["answer"]
    assert len(answer) > 20
    assert (each["answer"], each["stream"]) == (answer, answer)
    assert each["json_schema"]["verdict"] in ("yes", "no")
    assert "this server has no model 'another'; it serves 'tiny'" in each["unknown model"]
    assert each["stop"] in (None, answer[:3])
    assert each["logprobs"] in (None, 2)
    assert each["usage"] in (None, found["openai"]["usage"])
    assert each["models"] in (None, ["tiny"])
