"""The errors that end a training run, and their exit codes."""

from __future__ import annotations

EXIT_REFUSED = 2
EXIT_TOO_LONG = 3
EXIT_ORCHESTRATOR_GONE = 4


class TrainingRefused(Exception):
    """An input of the caller is wrong; the message says what, where and what to do."""

    exit_code = EXIT_REFUSED


class TooLong(TrainingRefused):
    """The run would take longer than `max_train_minutes`; nothing was trained."""

    exit_code = EXIT_TOO_LONG
