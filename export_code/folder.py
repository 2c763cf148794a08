"""Writes an export as one new folder: complete, or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from export_code.errors import CannotExport
from export_code.gguf_file import About, file_size, write_gguf
from export_code.model_files import INDEX, Weights
from export_code.model_source import Source, differences, read_source
from export_code.ollama import modelfile

SLACK = 10_000_000  # bytes for what stands beside the weights
CARD = "README.md"
SETTINGS = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

Say = Callable[[str], None]


def export_gguf(folder: Path, to: Path, about: About, quantization: str, say: Say) -> list[Path]:
    """Write a GGUF file, a Modelfile and a README to the new folder `to`; return their paths. Raises CannotExport."""
    source = read_source(folder)
    name = f"{_file_name(about)}-{quantization}.gguf"
    with _new_folder(to, file_size(folder, source, quantization)) as staged:
        say(f"writing {name}: {source.architecture.layers} layers, {quantization}")
        write_gguf(folder, staged / name, source, about, quantization, say)
        (staged / "Modelfile").write_text(modelfile(name, source), encoding="utf-8")
        (staged / CARD).write_text(_readme(name, source, about), encoding="utf-8")
    return sorted(to.iterdir())


def export_safetensors(folder: Path, to: Path, say: Say) -> list[Path]:
    """Copy the model, its settings and its card to the new folder `to`; return their paths. Raises CannotExport."""
    weights = Weights(folder)
    shards = weights.files()
    names = [*SETTINGS, *shards, *([INDEX] if (folder / INDEX).is_file() else [])]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise CannotExport(f"{folder} has no {', '.join(missing)}; give the folder of a trained model")
    card = [path.name for path in folder.iterdir() if path.name == CARD or path.suffix == ".png"]
    with _new_folder(to, sum((folder / name).stat().st_size for name in names)) as staged:
        for name in [*names, *card]:
            if name in shards:
                say(f"copying {name}")
            shutil.copyfile(folder / name, staged / name)
    return sorted(to.iterdir())


@contextmanager
def _new_folder(to: Path, needed: int) -> Iterator[Path]:
    """A folder that gets its name only when the block has ended well. Raises CannotExport for a name in use."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CannotExport(f"{to} exists already: give the name of a new folder, or remove it")
    if not to.parent.is_dir():
        raise CannotExport(f"{to.parent} is no folder: make it, or give another one")
    free = shutil.disk_usage(to.parent).free
    if free < needed + SLACK:
        raise CannotExport(
            f"the export takes {(needed + SLACK) / 1e9:.2f} GB and {free / 1e9:.2f} GB are free in {to.parent}: free "
            "some, or choose a folder on another disk"
        )
    staged = Path(tempfile.mkdtemp(prefix=f".{to.name}.", dir=to.parent))
    try:
        yield staged
        staged.replace(to)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _file_name(about: About) -> str:
    given = "-".join(part for part in (about.name, about.version) if part)
    return "".join(each if each.isalnum() or each in "-._" else "-" for each in given).strip("-.") or "model"


def _readme(name: str, source: Source, about: About) -> str:
    stem = Path(name).stem
    runs = [
        f"# {about.name} {about.version}".rstrip(),
        "",
        *(f"- {kind}: `{digest}`" for kind, digest in about.digests.items()),
        *([f"- licence: {about.licence}"] if about.licence else []),
        "",
        f"- Ollama: `ollama create {stem} -f Modelfile`, then `ollama run {stem}`",
        f"- llama.cpp: `llama-server -m {name} -c {source.architecture.served_context} --temp 0 --jinja`",
        f"- LM Studio: `lms import {name}`",
        "",
        "What differs from the endpoint:",
        "",
        *(f"- {each}" for each in differences(source)),
    ]
    return "\n".join(runs) + "\n"


def own_name(path: Path) -> str:
    """The name for a model of which nothing is known but its folder."""
    return os.path.basename(path.resolve()) or "model"
