"""The settings of a training run: flat, immutable, read from a preset and the command line."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import TrainingRefused

PRESETS = Path(__file__).resolve().parent / "presets"

# Marks a setting that says where, whether or how fast a run works: changing it does not change the weights.
PLACE = "place"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: [part.strip() for part in value.split(",")] if isinstance(value, str) else value),
]
# A command line has no null.
TextAsNone = BeforeValidator(lambda value: None if str(value).lower() in ("none", "null", "") else value)


class Settings(BaseModel):
    """Every setting of a run; its annotations hold its limits, its help text, and PLACE where that applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_model: Annotated[Path, "folder of the model to start from (safetensors)", PLACE]
    train_file: Annotated[Path, "JSON Lines of conversations to learn", PLACE]
    validation_file: Annotated[Path, "JSON Lines of conversations to stop by", PLACE]
    replay_file: Annotated[
        Path | None, TextAsNone, "JSON Lines of conversations on which to stay as the base; none = none", PLACE
    ] = None
    preference_file: Annotated[
        Path | None, TextAsNone, "JSON Lines of prompts with a chosen and a rejected answer; none = none", PLACE
    ] = None
    output_dir: Annotated[Path, "folder that holds the model and the report afterwards", PLACE]
    checkpoint_dir: Annotated[
        Path | None, TextAsNone, "folder of checkpoints; none = output_dir/checkpoints", PLACE
    ] = None

    method: Annotated[Literal["full", "lora", "qlora"], "what is trained; qlora needs CUDA and bitsandbytes"] = "lora"
    lora_rank: Annotated[Count, "rank of the adapter"] = 16
    lora_alpha: Annotated[Positive, "the adapter is scaled by lora_alpha / lora_rank"] = 32.0
    lora_dropout: Annotated[Share, "share of adapter inputs dropped in training"] = 0.0
    use_rslora: Annotated[bool, "scale the adapter by lora_alpha / sqrt(lora_rank): for high ranks"] = False
    use_dora: Annotated[bool, "also train the length of each weight row (DoRA): about half as fast"] = False
    lora_targets: Annotated[Names, "layers that get an adapter: attention, mlp, or the end of a layer's name"] = (
        "attention",
        "mlp",
    )
    frozen: Annotated[
        Names, "what a full fine-tune leaves as it is: attention, mlp, embeddings, or the end of a module's name"
    ] = ()

    max_length: Annotated[Count, "longest conversation, in tokens; the rest is cut off"] = 1024
    max_truncated_share: Annotated[Share, "refuse when a larger share of the conversations would be cut", PLACE] = 0.05
    packing: Annotated[bool, "put several conversations in one row, each seeing only itself"] = True
    packed_length: Annotated[Count, "length of a packed row, in tokens; with target_steps the longest"] = 1024
    batch_size: Annotated[Count, "rows in one forward pass; with target_steps the most"] = 1
    accumulation: Annotated[Count, "forward passes to one optimizer step; with target_steps the most"] = 1
    target_steps: Annotated[
        Count | None, TextAsNone, "optimizer steps to reach, by smaller steps where the data is little; none = no fit"
    ] = None
    comparison: Annotated[
        str,
        "what these values are compared with; said in log and report, and no number of steps is warned about",
        PLACE,
    ] = ""
    eval_batch_size: Annotated[Count, "rows in one forward pass of the validation"] = 1

    epochs: Annotated[Positive, "passes over the training conversations"] = 3.0
    learning_rate: Annotated[Positive, "highest learning rate"] = 2e-4
    schedule: Annotated[str, "how the learning rate falls after the warm-up (a transformers scheduler name)"] = "cosine"
    warmup_share: Annotated[Share, "share of the steps in which the learning rate rises"] = 0.1
    weight_decay: Annotated[float, "decay of the weights per unit of learning rate"] = 0.0
    neftune_noise_alpha: Annotated[
        Positive | None, TextAsNone, "noise on the embeddings in training, such as 5; needs packing off"
    ] = None
    max_grad_norm: Annotated[Positive, "longest gradient; longer ones are scaled down"] = 1.0
    replay_share: Annotated[Share, "share of the tokens of an epoch that are replay, from replay_file"] = 0.0
    optimizer: Annotated[str, "a transformers optimizer name"] = "adamw_torch"
    early_stopping_patience: Annotated[int, "epochs without a better validation loss before it stops; 0 = never"] = 2
    seed: Annotated[int, "of order, adapter start and dropout"] = 0

    preference: Annotated[
        Literal["none", "dpo"],
        "what is learned afterwards from the pairs of preference_file; dpo: chosen over rejected",
    ] = "none"
    preference_beta: Annotated[Positive, "DPO's beta: higher keeps the model nearer to what it was before"] = 0.1
    preference_epochs: Annotated[Positive, "passes over the training pairs"] = 3.0
    preference_learning_rate: Annotated[Positive, "highest learning rate of preference training"] = 5e-6
    preference_batch_size: Annotated[Count, "pairs in an optimizer step, computed one after another"] = 4
    preference_min_pairs: Annotated[Count, "with fewer usable pairs there is no preference training"] = 20

    precision: Annotated[
        Literal["fp32", "bf16-autocast", "bf16"],
        "fp32; fp32 weights with bf16 arithmetic; bf16 weights (the adapter stays fp32)",
    ] = "bf16-autocast"
    attention: Annotated[str, "eager, sdpa or flash_attention_2"] = "sdpa"
    gradient_checkpointing: Annotated[bool, "recompute activations: less memory, about a third slower"] = False
    threads: Annotated[int | None, TextAsNone, "CPU threads; none = torch's own choice"] = None
    tune_malloc: Annotated[bool, "keep freed memory in the process: faster on CPU (glibc only)", PLACE] = True

    save_seconds: Annotated[Positive, "seconds between checkpoints, besides one each epoch", PLACE] = 45.0
    keep_checkpoints: Annotated[Count, "newest complete checkpoints kept, besides the best", PLACE] = 2
    log_seconds: Annotated[
        Positive, "seconds between the first lines of progress; later lines are further apart", PLACE
    ] = 10.0
    processes: Annotated[
        Count | None,
        TextAsNone,
        "processes that train together, each with a GPU; none = one for each visible GPU, and one without GPUs",
        PLACE,
    ] = None
    max_train_minutes: Annotated[
        float | None, TextAsNone, "refuse when the estimate is above; none = no limit", PLACE
    ] = None
    merge_check_prompts: Annotated[int, "validation prompts on which merged and adapter must agree", PLACE] = 4

    @property
    def checkpoints(self) -> Path:
        """Folder in which the run stores its checkpoints."""
        return self.checkpoint_dir or self.output_dir / "checkpoints"

    def learned_from(self) -> dict[str, Any]:
        """The settings that change the weights, as JSON values; those of preference training only when it is on."""
        unused = {name for name in FIELDS if name.startswith("preference")} if self.preference == "none" else set[str]()
        return self.model_dump(mode="json", exclude=unused | {name for name in FIELDS if PLACE in notes(name)})

    def as_json(self) -> dict[str, Any]:
        """Every setting as JSON values."""
        return self.model_dump(mode="json")


FIELDS = Settings.model_fields


def notes(name: str) -> list[str]:
    """The help text of a setting, and PLACE where it applies."""
    return [note for note in FIELDS[name].metadata if isinstance(note, str)]


def settings_from(arguments: Sequence[str] | None = None) -> Settings:
    """The settings of a command line: the preset of `--config`, overridden by every `--name value`.

    Raises TrainingRefused for an unknown or missing setting and for a value of the wrong type.
    """
    known, unknown = command_line().parse_known_args(arguments)
    if unknown:
        raise TrainingRefused(unknown_setting(unknown[0].split("=")[0], "on the command line", prefix="--"))
    given = {name: value for name, value in vars(known).items() if name != "config" and value is not None}
    return build((read_preset(known.config) if known.config else {}) | given, "the command line")


def build(values: Mapping[str, Any], source: str) -> Settings:
    """The settings of a mapping; each value is converted to its field's type. Raises TrainingRefused."""
    check_names(values, source)
    try:
        return possible(Settings(**values))
    except ValidationError as e:
        errors = e.errors()
    missing = [f"--{error['loc'][0]}" for error in errors if error["type"] == "missing"]
    if missing:
        raise TrainingRefused(f"missing {', '.join(missing)}: give each a path")
    name = errors[0]["loc"][0]
    raise TrainingRefused(f"{name} is {values[str(name)]!r}: {errors[0]['msg']}")


def possible(settings: Settings) -> Settings:
    """The settings. Raises TrainingRefused for values that exclude each other."""
    for name in ("use_rslora", "use_dora"):
        if getattr(settings, name) and settings.method == "full":
            raise TrainingRefused(f"{name} changes an adapter, and method = full trains none: use lora or qlora")
    if settings.use_dora and settings.method == "qlora":
        raise TrainingRefused(
            "use_dora with method = qlora would learn the lengths of the 4-bit weights, which are not those of the "
            "published model: use lora"
        )
    if settings.neftune_noise_alpha is not None and settings.packing:
        raise TrainingRefused(
            "neftune_noise_alpha scales the noise by the length of a conversation, and a packed row holds several: "
            "set packing to false"
        )
    if settings.preference != "none" and (settings.processes or 1) > 1:
        raise TrainingRefused(
            f"preference = {settings.preference} trains in one process, and processes is {settings.processes}: set one "
            "of them to none"
        )
    return settings


def read_preset(name_or_path: str) -> dict[str, Any]:
    """The values of a preset in presets/ (by name) or of any YAML file (by path). Raises TrainingRefused."""
    path = PRESETS / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        raise TrainingRefused(f"no config {name_or_path!r}: give a YAML file or one of {preset_names()}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise TrainingRefused(f"{path} is not YAML: {e}") from e
    if not isinstance(values, dict):
        raise TrainingRefused(f"{path} must hold `name: value` lines, and holds a {type(values).__name__}")
    check_names(values, str(path))
    return values


def preset_names() -> str:
    return ", ".join(sorted(p.stem for p in PRESETS.glob("*.yaml")))


def check_names(names: Iterable[Any], source: str) -> None:
    for name in names:
        if name not in FIELDS:
            raise TrainingRefused(unknown_setting(str(name), f"in {source}"))


def unknown_setting(name: str, where: str, prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lstrip("-"), [*FIELDS, "config"], n=1, cutoff=0.4)
    hint = f"; did you mean {prefix}{near[0]}?" if near else "; --help lists all"
    return f"unknown setting {name!r} {where}{hint}"


def command_line() -> argparse.ArgumentParser:
    """A parser with one option per setting; its help states each one's meaning and default."""
    parser = argparse.ArgumentParser(
        prog="fine_tune.py", allow_abbrev=False, description="Fine-tune a causal language model on conversations."
    )
    help_text = f"preset or YAML file to start from. Presets: {preset_names()}"
    parser.add_argument("--config", metavar="NAME", help=help_text)
    for name, field in FIELDS.items():
        default = "required" if field.is_required() else f"default {show(field.default)}"
        help_text = f"{notes(name)[0]} ({default})".replace("%", "%%")
        parser.add_argument(f"--{name}", metavar="VALUE", default=None, help=help_text)
    return parser


def show(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)
