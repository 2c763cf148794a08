"""Shell completion: click's script for a shell, and the words that complete an argument. Loads no Dagster.

A word that a shell could read as more than a word is not offered: clients choose the ids of answers.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_PHI_COMPLETE"
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
ANSWERS_OFFERED = 50


def script(command: click.Command, shell: str) -> str:
    """Return the script that makes the shell complete `phi`."""
    from click.shell_completion import get_completion_class

    complete = get_completion_class(shell)
    assert complete is not None
    return complete(command, {}, "phi", VARIABLE).source()


def answer_ids(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the ids of the newest answers that begin with the text."""
    del context, parameter
    return _words(_newest_answers, incomplete)


def version_numbers(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the model versions that begin with the text, as this home last read them from the registry."""
    del context, parameter
    return _words(_cached_versions, incomplete)


def _words(read: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    try:
        return [word for word in read() if WORD.fullmatch(word) and word.startswith(incomplete)]
    except Exception:  # an error in the middle of a line that is being typed helps nobody
        return []


def _newest_answers() -> list[str]:
    from phi_assets.answer_log import Answers

    return [each.id for each in Answers(_state(), days=1).newest(ANSWERS_OFFERED)]


def _cached_versions() -> list[str]:
    cache = _state() / "mlflow" / "versions.json"  # of the local registry; on Azure there is none
    return [each["version"] for each in json.loads(cache.read_text(encoding="utf-8"))["value"]]


def _state() -> Path:
    """Return the folder of the home's state. Validates no setting: the validators load Dagster."""
    from phi_assets.project import WORKING_FOLDER
    from phi_assets.settings import PREFIX, Settings, variables

    given = variables()
    home, backend = (
        given.get(PREFIX + name.upper()) or str(Settings.model_fields[name].default) for name in ("home", "backend")
    )
    return WORKING_FOLDER / Path(home).expanduser() / backend
