"""Every setting of a training run: flat, frozen, from a preset and the command line."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import yaml

from .errors import TrainingRefused

PRESETS = Path(__file__).resolve().parent / "presets"


# Marks a setting that says where or how fast, so that changing it does not change the weights.
PLACE = "place"


@dataclass(frozen=True)
class Settings:
    base_model: Annotated[Path, "folder of the model to start from (safetensors)", PLACE]
    train_file: Annotated[Path, "JSON Lines of conversations to learn", PLACE]
    validation_file: Annotated[Path, "JSON Lines of conversations to stop by", PLACE]
    output_dir: Annotated[Path, "folder that holds the model and the report afterwards", PLACE]
    checkpoint_dir: Annotated[Path | None, "folder of checkpoints; none = output_dir/checkpoints", PLACE] = None

    method: Annotated[Literal["full", "lora", "qlora"], "what is trained; qlora needs CUDA and bitsandbytes"] = "lora"
    lora_rank: Annotated[int, "rank of the adapter"] = 16
    lora_alpha: Annotated[float, "the adapter is scaled by lora_alpha / lora_rank"] = 32.0
    lora_dropout: Annotated[float, "share of adapter inputs dropped in training"] = 0.0
    lora_targets: Annotated[tuple[str, ...], "layers that get an adapter, by the end of their name"] = (
        "qkv_proj",
        "o_proj",
        "gate_up_proj",
        "down_proj",
    )
    frozen: Annotated[
        tuple[str, ...], "modules that a full fine-tune leaves as they are, by the end of their name"
    ] = ()

    max_length: Annotated[int, "longest conversation, in tokens; the rest is cut off"] = 1024
    max_truncated_share: Annotated[float, "refuse when a larger share of the conversations would be cut"] = 0.05
    packing: Annotated[bool, "put several conversations in one row, each seeing only itself"] = True
    packed_length: Annotated[int, "length of a packed row, in tokens"] = 1024
    batch_size: Annotated[int, "rows in one forward pass"] = 1
    accumulation: Annotated[int, "forward passes to one optimizer step"] = 1
    eval_batch_size: Annotated[int, "rows in one forward pass of the validation"] = 1

    epochs: Annotated[float, "passes over the training conversations"] = 3.0
    learning_rate: Annotated[float, "highest learning rate"] = 2e-4
    schedule: Annotated[str, "how the learning rate falls after the warm-up (a transformers scheduler name)"] = "cosine"
    warmup_share: Annotated[float, "share of the steps in which the learning rate rises"] = 0.1
    weight_decay: Annotated[float, "decay of the weights per unit of learning rate"] = 0.0
    max_grad_norm: Annotated[float, "longest gradient; longer ones are scaled down"] = 1.0
    optimizer: Annotated[str, "a transformers optimizer name"] = "adamw_torch"
    early_stopping_patience: Annotated[int, "epochs without a better validation loss before it stops; 0 = never"] = 2
    seed: Annotated[int, "of order, adapter start and dropout"] = 0

    precision: Annotated[
        Literal["fp32", "bf16-autocast", "bf16"],
        "fp32; fp32 weights with bf16 arithmetic; bf16 weights (the adapter stays fp32)",
    ] = "bf16-autocast"
    attention: Annotated[str, "eager, sdpa or flash_attention_2"] = "sdpa"
    gradient_checkpointing: Annotated[bool, "recompute activations: less memory, about a third slower"] = False
    threads: Annotated[int | None, "CPU threads; none = torch's own choice"] = None
    tune_malloc: Annotated[bool, "keep freed memory in the process: faster on CPU (glibc only)", PLACE] = True

    save_seconds: Annotated[float, "seconds between checkpoints, besides one each epoch", PLACE] = 45.0
    keep_checkpoints: Annotated[int, "newest complete checkpoints kept, besides the best", PLACE] = 2
    log_seconds: Annotated[float, "longest silence, in seconds", PLACE] = 10.0
    max_train_minutes: Annotated[float | None, "refuse when the estimate is above; none = no limit", PLACE] = None
    merge_check_prompts: Annotated[int, "validation prompts on which merged and adapter must agree", PLACE] = 4

    def __post_init__(self) -> None:
        for name in ("max_length", "packed_length", "batch_size", "accumulation", "eval_batch_size", "lora_rank"):
            if getattr(self, name) < 1:
                raise TrainingRefused(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("epochs", "learning_rate", "lora_alpha", "save_seconds", "log_seconds", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise TrainingRefused(f"{name} is {getattr(self, name)}; it must be above 0")
        for name in ("warmup_share", "max_truncated_share", "lora_dropout"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingRefused(f"{name} is {getattr(self, name)}; it is a share, from 0 to 1")
        if self.keep_checkpoints < 1:
            raise TrainingRefused(f"keep_checkpoints is {self.keep_checkpoints}; at least 1 is needed to resume")

    @property
    def checkpoints(self) -> Path:
        """Folder in which the run keeps its checkpoints."""
        return self.checkpoint_dir or self.output_dir / "checkpoints"

    def learned_from(self) -> dict[str, Any]:
        """The settings that change the weights, as JSON values."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self) if PLACE not in notes(f.name)}

    def as_json(self) -> dict[str, Any]:
        """Every setting as JSON values."""
        return {f.name: plain(getattr(self, f.name)) for f in dataclasses.fields(self)}


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value


FIELDS = {f.name: f for f in dataclasses.fields(Settings)}
TYPES = typing.get_type_hints(Settings)
ANNOTATED = typing.get_type_hints(Settings, include_extras=True)


def notes(name: str) -> tuple[str, ...]:
    """The help text of a setting, and PLACE where it is one."""
    return ANNOTATED[name].__metadata__


def settings_from(arguments: Sequence[str] | None = None) -> Settings:
    """Settings of a command line: the preset of `--config`, overridden by every `--name value`.

    Raises TrainingRefused for an unknown or missing setting and for a value of the wrong kind.
    """
    parser = command_line()
    known, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise TrainingRefused(unknown_setting(unknown[0].split("=")[0], "on the command line", prefix="--"))
    given = {name: value for name, value in vars(known).items() if name != "config" and value is not None}
    values = read_preset(known.config) | given if known.config else given
    return build(values, "the command line")


def build(values: Mapping[str, Any], where: str) -> Settings:
    """Settings of a mapping; each value is converted to its field's type. Raises TrainingRefused."""
    for name in values:
        if name not in FIELDS:
            raise TrainingRefused(unknown_setting(name, f"in {where}"))
    missing = [n for n, f in FIELDS.items() if f.default is dataclasses.MISSING and n not in values]
    if missing:
        raise TrainingRefused(f"missing {', '.join('--' + name for name in missing)}: give each a path")
    return Settings(**{name: converted(name, value) for name, value in values.items()})


def read_preset(name_or_path: str) -> dict[str, Any]:
    """The values of a preset in presets/ (by name) or of any YAML file (by path). Raises TrainingRefused."""
    path = PRESETS / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        names = sorted(p.stem for p in PRESETS.glob("*.yaml"))
        raise TrainingRefused(f"no config {name_or_path!r}: give a YAML file or one of {', '.join(names)}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise TrainingRefused(f"{path} is not YAML: {e}") from e
    if not isinstance(values, dict):
        raise TrainingRefused(f"{path} must hold `name: value` lines, and holds a {type(values).__name__}")
    for name in values:
        if name not in FIELDS:
            raise TrainingRefused(unknown_setting(str(name), f"in {path}"))
    return values


def unknown_setting(name: str, where: str, prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lstrip("-"), [*FIELDS, "config"], n=1, cutoff=0.4)
    hint = f"; did you mean {prefix}{near[0]}?" if near else "; --help lists all"
    return f"unknown setting {name!r} {where}{hint}"


def converted(name: str, value: Any) -> Any:
    """`value` (text, or a YAML value) as the type of the setting `name`. Raises TrainingRefused."""
    kind = TYPES[name]
    options = typing.get_args(kind)
    if typing.get_origin(kind) in (Union, types.UnionType):
        if value is None or str(value).lower() in ("none", "null", ""):
            return None
        kind = next(option for option in options if option is not type(None))
    try:
        if typing.get_origin(kind) is Literal:
            if value not in options:
                raise ValueError(f"choose one of {', '.join(options)}")
            return value
        if typing.get_origin(kind) is tuple:
            return (
                tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else tuple(map(str, value))
            )
        if kind is bool:
            return {"true": True, "false": False}[str(value).lower()]
        if kind is int and isinstance(value, float) and value != int(value):
            raise ValueError("a whole number is needed")
        return kind(value)
    except KeyError as e:
        raise TrainingRefused(f"{name} is {value!r}; write true or false") from e
    except (TypeError, ValueError) as e:
        raise TrainingRefused(f"{name} is {value!r}: {e}") from e


def command_line() -> argparse.ArgumentParser:
    """A parser with one option per setting; its help gives each one's meaning and default."""
    presets = ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))
    parser = argparse.ArgumentParser(
        prog="fine_tune.py", allow_abbrev=False, description="Fine-tune a causal language model on conversations."
    )
    parser.add_argument("--config", metavar="NAME", help=f"preset or YAML file to start from. Presets: {presets}")
    for name, f in FIELDS.items():
        default = "required" if f.default is dataclasses.MISSING else f"default {show(f.default)}"
        text = f"{notes(name)[0]} ({default})".replace("%", "%%")
        parser.add_argument(f"--{name}", metavar="VALUE", default=None, help=text)
    return parser


def show(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
