"""Converts a model folder to the uniform layout that all parts of the project rely on."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phi_assets.base_models.model_errors import IncompleteModel
from phi_assets.base_models.safety import read_json, refuse_unsafe_folder
from phi_assets.base_models.tokens import ModelSettings, RenderedChat, align_special_tokens, token_text

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Increase it when the prepared files change: models prepared earlier are then prepared again.
PREPARATION_VERSION = 1

# The tokenizer's settings live in tokenizer_config.json alone: a second file could contradict it.
_ROLES = ("bos", "eos", "unk", "pad")
_TRACES_OF_LOADING = ("is_local", "local_files_only", "name_or_path", "tokenizer_file", "_commit_hash")
_ANSWER = "Of course."


@dataclass(frozen=True)
class PreparedModel:
    """The facts about a prepared model folder."""

    architecture: str
    parameters: int
    context_length: int
    notes: list[str]


def prepare_model(source: Path, folder: Path, *, link: bool = False) -> PreparedModel:
    """Write the model of ``source`` to ``folder``, safe to load and with consistent special tokens.

    ``folder`` holds config.json, generation_config.json, tokenizer.json, tokenizer_config.json, chat_template.jinja
    and the safetensors. The source is not changed; with ``link`` its weights are shared by hard links where the file
    system allows it, which is safe only when nothing writes to the source. Raises UnsafeModel or IncompleteModel.
    """
    refuse_unsafe_folder(source)
    config = _required_json(source, "config.json", "it is no Hugging Face model folder")
    architecture = native_causal_architecture(config, str(source / "config.json"))
    settings = ModelSettings(
        config=config,
        generation=_optional_json(source / "generation_config.json"),
        tokenizer=_tokenizer_settings(source),
    )
    _required_json(
        source, "tokenizer.json", "only fast tokenizers are used; save it with AutoTokenizer and transformers 5"
    )
    template = read_chat_template(source, settings.tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["tokenizer.json", *weight_files(source)]:
        _copy((source / name).resolve(), folder / name, link=link)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    notes = _write_settings(folder, settings)
    return _describe(folder, architecture, notes)


def native_causal_architecture(config: dict[str, Any], where: str) -> str:
    """The causal language model class of ``config``, which must be built into transformers.

    Raises IncompleteModel for any other.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NATIVE

    model_type, named = config.get("model_type"), config.get("architectures") or []
    native = NATIVE.get(str(model_type))
    if native is None or named != [native]:
        expected = f"that model type's causal language model is {native}" if native else "no causal language model is"
        raise IncompleteModel(
            f"{where} names model type {model_type!r} with architectures {named}; {expected} built into transformers: "
            f"use a model such as Phi3ForCausalLM"
        )
    if "quantization_config" in config:
        raise IncompleteModel(
            f"{where} describes quantised weights, which can't be fine-tuned: use the unquantised model"
        )
    return native


def read_chat_template(source: Path, tokenizer_config: dict[str, Any]) -> str:
    """The chat template of a model folder, which is removed from ``tokenizer_config``.

    Raises IncompleteModel when there is none: without it the format of turns in training is unknown.
    """
    stored = tokenizer_config.pop("chat_template", None)
    if (source / "chat_template.jinja").is_file():
        return (source / "chat_template.jinja").read_text(encoding="utf-8")
    if isinstance(stored, list):
        stored = {named["name"]: named["template"] for named in stored}.get("default")
    if isinstance(stored, str) and stored.strip():
        return stored
    raise IncompleteModel(
        f"{source} has no chat template; use the instruct version of the model, or put the template that it was "
        f"trained with into chat_template.jinja"
    )


def _write_settings(folder: Path, settings: ModelSettings) -> list[str]:
    """Write the three settings files with consistent special tokens to ``folder``; return notes on the changes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    largest, rows = max(tokenizer.get_vocab().values()), int(settings.config.get("vocab_size") or 0)
    if largest >= rows:
        raise IncompleteModel(
            f"the tokenizer has a token {largest}, but config.json's vocab_size is {rows}: not one model"
        )
    _write_json(folder / "config.json", settings.config)
    _write_json(folder / "tokenizer_config.json", settings.tokenizer)
    notes = align_special_tokens(settings, tokenizer, render_chat(folder))
    _write_json(folder / "config.json", settings.config)
    _write_json(folder / "generation_config.json", settings.generation)
    _write_json(folder / "tokenizer_config.json", settings.tokenizer)
    return notes


def render_chat(folder: Path) -> RenderedChat:
    """A question and its answer under the chat template of ``folder``. Raises IncompleteModel when that fails."""
    from jinja2 import TemplateError
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "May I ask something?"}, {"role": "assistant", "content": _ANSWER}]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False)
    except (TemplateError, TypeError, ValueError) as e:
        raise IncompleteModel(f"the chat template of {folder} can't render a question and its answer: {e}") from e
    before, found, after = str(text).rpartition(_ANSWER)
    if not found or chat[0]["content"] not in before:
        raise IncompleteModel(f"the chat template of {folder} leaves out the question or the answer: {text!r}")
    return RenderedChat(text=str(text), turn_end=after)


def _describe(folder: Path, architecture: str, notes: list[str]) -> PreparedModel:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    shapes = read_shapes(folder)
    refuse_misfit(folder, shapes, config)
    return PreparedModel(
        architecture=architecture,
        parameters=count_parameters(shapes),
        context_length=int(config.max_position_embeddings),
        notes=notes,
    )


def _tokenizer_settings(source: Path) -> dict[str, Any]:
    settings = _required_json(source, "tokenizer_config.json", "the tokenizer's settings are missing")
    legacy = _optional_json(source / "special_tokens_map.json")
    for role in _ROLES:
        # As text: tokenizer.json defines how spaces around the token are handled.
        text = token_text(settings, role) or token_text(legacy, role)
        if text is not None:
            settings[f"{role}_token"] = text
    for name in _TRACES_OF_LOADING:
        settings.pop(name, None)
    # Cleaning up drops spaces before punctuation, so decoding would not reproduce the encoded text.
    settings["clean_up_tokenization_spaces"] = False
    return settings


def _required_json(source: Path, name: str, reason: str) -> dict[str, Any]:
    if not (source / name).is_file():
        raise IncompleteModel(f"{source} has no {name}: {reason}")
    content = read_json(source / name)
    if not isinstance(content, dict):
        raise IncompleteModel(f"{source / name} is not a JSON object; get the model again")
    return content


def _optional_json(path: Path) -> dict[str, Any]:
    return _required_json(path.parent, path.name, "") if path.is_file() else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _copy(source: Path, target: Path, *, link: bool) -> None:
    if link:
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def weight_files(folder: Path) -> list[str]:
    """Names of the safetensors that make up the model in ``folder``, its index among them when it has shards.

    Raises IncompleteModel when there are none, or a shard that the index names is missing.
    """
    if (folder / INDEX).is_file():
        names = sorted(set(read_json(folder / INDEX).get("weight_map", {}).values()))
        missing = [name for name in names if Path(name).name != name or not (folder / name).is_file()]
        if missing or not names:
            raise IncompleteModel(
                f"{folder} lacks {', '.join(missing) or 'every shard'} of {INDEX}; get the model again"
            )
        return [*names, INDEX]
    if (folder / SINGLE).is_file():
        return [SINGLE]
    raise IncompleteModel(
        f"{folder} has no {SINGLE} and no {INDEX}: weights must be safetensors; save the model with "
        f"transformers' save_pretrained, which writes them"
    )


def read_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight in ``folder``. Raises IncompleteModel for a truncated or damaged file."""
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for name in weight_files(folder):
        if name == INDEX:
            continue
        try:
            with safe_open(folder / name, framework="numpy") as weights:
                shapes |= {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118 (no mapping)
        except SafetensorError as e:
            raise IncompleteModel(f"{folder / name} is truncated or damaged ({e}); get the model again") from e
    return shapes


def count_parameters(shapes: dict[str, tuple[int, ...]]) -> int:
    """Number of stored parameters; weights that are tied are stored, and counted, once."""
    return sum(math.prod(shape) for shape in shapes.values())


def refuse_misfit(folder: Path, shapes: dict[str, tuple[int, ...]], config: Any) -> None:
    """Check that ``shapes`` has every weight of a Phi-3 model of ``config`` with the right shape.

    transformers would initialise missing weights randomly and only warn. Other architectures may rename weights
    while they are loaded, so they are not checked. Raises IncompleteModel.
    """
    if config.model_type != "phi3":
        return
    import torch
    from transformers import Phi3ForCausalLM

    with torch.device("meta"):
        expected = {name: tuple(weight.shape) for name, weight in Phi3ForCausalLM(config).state_dict().items()}
    if config.tie_word_embeddings:
        expected.pop("lm_head.weight")
    for name, shape in expected.items():
        if shapes.get(name) != shape:
            found = f"has shape {shapes[name]}" if name in shapes else "is missing"
            raise IncompleteModel(
                f"the weight {name} in {folder} {found}, and config.json needs shape {shape}: "
                f"the weights and config.json are not of one model"
            )
