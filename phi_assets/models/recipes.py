"""The recipe of a training: a preset, and the values that a candidate changes.

Recipes with equal settings have equal digests, whatever their names: the model of one is found by the other.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from phi_assets.plain_text import plain_text
from phi_assets.project import WORKING_FOLDER
from phi_assets.settings import PRESETS, Settings

# Paths are not part of a recipe, but training_code requires them.
NOWHERE = dict.fromkeys(("base_model", "train_file", "validation_file", "output_dir"), ".")


class WrongRecipe(dg.Failure):
    """A missing preset, or a setting that training_code rejects, with the message of training_code."""


@dataclass(frozen=True)
class Recipe:
    """A preset, by name or as a file's absolute path, and the settings that differ from it. `of` makes one."""

    preset: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    candidate: str = field(default="", metadata={"doc": "the candidate's name; none of the real training"})

    @property
    def label(self) -> str:
        """Return the preset's name and the changed values: `laptop learning_rate=0.0002`."""
        return " ".join([Path(self.preset).stem, *(f"{name}={value}" for name, value in self.changes.items())])

    @property
    def arguments(self) -> list[str]:
        """Return the changed values as arguments of training_code."""
        return [f"--{name}={value}" for name, value in self.changes.items()]

    @property
    def limits(self) -> list[str]:
        """Return arguments for training_code: check `fits_context` has already judged the length of the conversations.

        It judged those of the real training only: a candidate's own limit remains.
        """
        return [] if self.candidate else ["--max_truncated_share=1"]

    @property
    def file(self) -> Path | None:
        """Return the preset's file when it is not one of training_code's presets."""
        return Path(self.preset) if Path(self.preset).is_absolute() else None

    def learned_from(self) -> dict[str, Any]:
        """Return every setting that decides the weights, as JSON values. Raises WrongRecipe."""
        return self.built().learned_from()

    def settings(self) -> dict[str, Any]:
        """Return every setting of training_code, as JSON values, without the paths. Raises WrongRecipe."""
        return {name: value for name, value in self.built().as_json().items() if name not in NOWHERE}

    def built(self) -> Any:
        """Return training_code's own settings object, with paths that lead nowhere. Raises WrongRecipe."""
        from training_code.settings import build, read_preset

        with _in_its_words():
            return build({**read_preset(self.preset), **self.changes, **NOWHERE}, self.label)

    @property
    def replays(self) -> bool:
        """Return whether the training replays conversations of the base. Raises WrongRecipe."""
        return self.settings()["replay_share"] > 0

    @property
    def prefers(self) -> bool:
        """Return whether the training learns from preference pairs too. Raises WrongRecipe."""
        return self.settings()["preference"] != "none"

    def expected_steps(self, tokens: int, conversations: int, *, replay: bool) -> tuple[int, int, str]:
        """Return the optimizer steps that these training tokens make, tokens per step, and a warning or nothing.

        About right: rows are not packed here. Raises WrongRecipe.
        """
        from training_code import sizing

        built = self.built()
        whole = sizing.epoch_tokens(tokens, built.replay_share if replay else 0.0)
        rows = round(conversations * whole / max(tokens, 1))
        steps, per_step = sizing.expected_steps(built, whole, rows)
        few = steps < sizing.FEW_STEPS and not built.comparison
        return steps, per_step, sizing.few_steps(built, steps) if few else ""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the settings that decide the weights."""
        return hashlib.sha256(json.dumps(self.learned_from(), sort_keys=True).encode()).hexdigest()

    def as_preset(self) -> str:
        """Return the complete recipe as the YAML of a preset file."""
        import yaml

        from training_code.settings import read_preset

        values = {**read_preset(self.preset), **self.changes}
        return (
            f"# {plain_text(self.label)}\n{yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=120)}"
        )


def of(preset: str, wanted: Mapping[str, Any], candidate: str = "") -> Recipe:
    """Return the recipe of a preset with changed values; None, and values equal to the preset's, are no change.

    The default name of the candidate is its label. Raises WrongRecipe.
    """
    from training_code.settings import build, read_preset

    own = WORKING_FOLDER / Path(preset).expanduser()
    name = str(own) if own.suffix in (".yaml", ".yml") and own.is_file() else preset
    given = {key: value for key, value in wanted.items() if value is not None}
    with _in_its_words():
        before = build({**read_preset(name), **NOWHERE}, f"preset {preset}").as_json()
        after = build({**read_preset(name), **given, **NOWHERE}, "the candidate").as_json()
    changes = {key: after[key] for key in given if after[key] != before[key]}
    return Recipe(name, changes, candidate or Recipe(name, changes).label)


@contextmanager
def _in_its_words() -> Iterator[None]:
    from training_code.errors import TrainingRefused

    try:
        yield
    except TrainingRefused as e:
        raise WrongRecipe(f"{e}; nothing was trained", allow_retries=False) from e


def preset_file(settings: Settings) -> Path:
    """Return the YAML file of PHI_PRESET."""
    path = Path(settings.preset)
    return path if path.is_absolute() else PRESETS / f"{settings.preset}.yaml"


def preset_value(settings: Settings, name: str) -> Any:
    """Return a value of the preset. Raises KeyError when the preset does not set it."""
    import yaml

    return yaml.safe_load(preset_file(settings).read_text(encoding="utf-8"))[name]
