"""The ways in which a training run refuses, and the exit code of each."""

from __future__ import annotations

EXIT_REFUSED = 2
EXIT_TOO_LONG = 3
EXIT_ORCHESTRATOR_GONE = 4


class TrainingRefused(Exception):
    """Something that the caller gave is wrong; the message says what, where and what to do."""

    exit_code = EXIT_REFUSED


class TooLong(TrainingRefused):
    """The run would take longer than `max_train_minutes`; nothing was trained."""

    exit_code = EXIT_TOO_LONG
