"""Models of the Hugging Face hub: pinned to a commit, fetched without pickles and code, usable when it is gone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from phi_assets.base_models import (
    BaseModelMissing,
    HubUnreachable,
    IncompleteModel,
    ResolvedModel,
    parse_base_model,
    resolve,
)
from tests.support.loopback_hub import LoopbackHub, run_hub

EditJson = Callable[[Path, dict[str, Any]], None]

COMMIT, LATER = "1" * 40, "2" * 40
REPOSITORY = "someone/tiny-phi"

# In a process of its own, because huggingface_hub reads HF_ENDPOINT once, when it is imported.
SCRIPT = """
import json, sys
from pathlib import Path
from phi_assets.base_models import parse_base_model, resolve
found = resolve(parse_base_model(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps({"address": str(found.address), "source": found.source, "notes": found.notes}))
"""


def in_its_own_process(address: str, text: str, root: Path) -> dict[str, Any]:
    """What ``resolve`` returns where the environment alone says that the hub is at ``address``."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(root.parent / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": os.getcwd(),
    }
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", SCRIPT, text, str(root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def resolve_from(address: str, text: str, root: Path) -> ResolvedModel:
    """What ``resolve`` returns or raises when the hub is at ``address``, asked in this process: it is soon told."""
    from huggingface_hub import constants

    with pytest.MonkeyPatch.context() as patched:
        files = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
        patched.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        patched.setattr(constants, "ENDPOINT", address)
        patched.setattr(constants, "HF_HUB_OFFLINE", False)
        return resolve(parse_base_model(text), root)


@pytest.fixture
def hub(model: Path, edit_json: EditJson) -> Iterator[LoopbackHub]:
    """A hub with one repository, published as Phi-3's are: with code, with ``auto_map``, and here with pickles too."""
    edit_json(model / "config.json", {"auto_map": {"AutoConfig": "configuration_phi3.Phi3Config"}})
    for name in (
        "configuration_phi3.py",
        "pytorch_model.bin",
        "onnx/config.json",
        "README.md",
        "consolidated.safetensors",
    ):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_text("never fetched")
    with run_hub(LoopbackHub({REPOSITORY: {COMMIT: model}})) as running:
        yield running


@pytest.mark.integration
def test_a_model_is_pinned_and_comes_without_code_and_pickles(hub: LoopbackHub, root: Path) -> None:
    found = in_its_own_process(hub.address, f"hf:{REPOSITORY}", root)
    assert found["source"] == f"hf:{REPOSITORY}@{COMMIT}"
    assert sorted(hub.fetched) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert "auto_map" not in (Path(found["address"]) / "config.json").read_text(encoding="utf-8")
    assert any("auto_map removed" in note for note in found["notes"])
    assert not list(root.glob(".fetching-*"))


@pytest.mark.integration
def test_a_known_model_is_used_when_the_hub_is_gone_and_a_new_commit_when_it_is_there(
    hub: LoopbackHub, model: Path, root: Path, tmp_path: Path, edit_json: EditJson
) -> None:
    first = resolve_from(hub.address, f"hf:{REPOSITORY}", root)
    pinned = resolve_from(hub.address, f"hf:{REPOSITORY}@{COMMIT}", root)
    assert pinned.address == first.address
    alone = resolve_from("http://127.0.0.1:1", f"hf:{REPOSITORY}", root)
    assert alone.address == first.address
    assert "newer commit" in alone.notes[-1]
    assert resolve_from("http://127.0.0.1:1", f"hf:{REPOSITORY}@{COMMIT}", root) == pinned
    later = Path(shutil.copytree(model, tmp_path / "later"))
    edit_json(later / "config.json", {"rms_norm_eps": 1e-6})
    hub.repositories[REPOSITORY][LATER] = later
    second = resolve_from(hub.address, f"hf:{REPOSITORY}", root)
    assert second.source.endswith(LATER)
    assert second.address != first.address


@pytest.mark.integration
def test_what_cannot_be_had_is_said_with_what_to_do(hub: LoopbackHub, model: Path, root: Path) -> None:
    with pytest.raises(HubUnreachable):
        resolve_from("http://127.0.0.1:1", "hf:a/b", root)
    with pytest.raises(BaseModelMissing, match="check the name"):
        resolve_from(hub.address, "hf:no/such", root)
    with pytest.raises(BaseModelMissing, match="has no revision 'v9'"):
        resolve_from(hub.address, f"hf:{REPOSITORY}@v9", root)
    hub.gated = True
    with pytest.raises(BaseModelMissing, match="asks for its licence to be accepted"):
        resolve_from(hub.address, f"hf:{REPOSITORY}", root)
    (model / "model.safetensors").unlink()
    with pytest.raises(IncompleteModel, match=r"pytorch_model\.bin"):
        resolve_from(hub.address, f"hf:{REPOSITORY}", root)
    assert hub.fetched == []


@pytest.mark.integration
def test_code_of_an_architecture_that_transformers_lacks_is_not_fetched_and_the_model_refused(
    hub: LoopbackHub, model: Path, root: Path, edit_json: EditJson
) -> None:
    edit_json(model / "config.json", {"model_type": "phi9", "architectures": ["Phi9ForCausalLM"]})
    with pytest.raises(IncompleteModel, match="'phi9'"):
        resolve_from(hub.address, f"hf:{REPOSITORY}", root)
    assert "configuration_phi3.py" not in hub.fetched
