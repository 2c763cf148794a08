"""`phi export`: writes a registered model for Ollama, llama.cpp and other runtimes."""

import re
from functools import partial
from pathlib import Path

from export_code.errors import CannotExport
from export_code.folder import export_gguf, export_safetensors
from export_code.gguf_file import About
from phi_assets.backends.select import build_resources
from phi_assets.cli.console import print_error, print_text, say
from phi_assets.ports.evaluation import ModelRegistry
from phi_assets.records import RegisteredModel
from phi_assets.settings import Settings

NO_ONNX = (
    "phi does not write ONNX: export with --format safetensors, and build that folder with "
    "`python -m onnxruntime_genai.models.builder -i FOLDER -o OUT -p int4 -e cpu -c CACHE` (package onnxruntime-genai)"
)


def export(settings: Settings, version: str, *, format: str, quantize: str, to: Path) -> int:
    """Return 0 when the folder `to` is written; 1 after printing why it is not, and then it does not exist."""
    if format == "onnx":
        print_error(NO_ONNX)
        return 1
    registry: ModelRegistry = build_resources(settings)["registry"]
    model = registry.version(version) if version else registry.champion()
    if model is None:
        found = f"no version {version} is registered; `phi models` lists them" if version else _no_champion(registry)
        print_error(found)
        return 1
    folder = Path(model.address)
    if not folder.is_dir():
        print_error(_no_weights(model))
        return 1
    progress = partial(say, "export")
    try:
        if format == "gguf":
            written = export_gguf(folder, to, _about(registry, model), quantize, progress)
        else:
            written = export_safetensors(folder, to, progress)
    except CannotExport as e:
        print_error(e)
        return 1
    for path in written:
        print_text(f"{path}  {path.stat().st_size / 1e6:,.1f} MB")
    return 0


def _no_champion(registry: ModelRegistry) -> str:
    if registry.versions():
        return (
            "no version is champion and has weights; name one: `phi export VERSION`, of those that `phi models` lists"
        )
    return "no model is registered yet; `phi run` makes one"


def _no_weights(model: RegisteredModel) -> str:
    if model.address.startswith("azureml:"):
        return (
            f"the weights of version {model.version} are in the workspace: download them with `az ml model download "
            f"--name {model.name} --version {model.version}`, and export that folder with `python -m export_code`"
        )
    return f"the weights of version {model.version} are gone from {model.address}; `phi models` says which have theirs"


def _about(registry: ModelRegistry, model: RegisteredModel) -> About:
    card = registry.card(model) or ""
    licence = re.search(r"^license: (\S+)$", card.partition("\n---\n")[0], re.MULTILINE)
    return About(
        name=model.name,
        version=model.version,
        licence=licence[1] if licence else "",
        digests={"model": model.model_digest, "dataset": model.dataset_digest},
    )
