"""What a person is told of a cause: what failed, why, what to do. Secrets are masked before it is written down."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from phi_assets.notifications import remedies
from phi_assets.notifications.event_log import CheckEvaluation, Ending
from phi_assets.notifications.step_errors import Error
from phi_assets.redaction import MASK, masked
from phi_assets.settings import variables

WHY_CHARACTERS = 600  # of one reason
REASONS = 12
# Environment variables by these names hold secrets, whatever their values look like.
SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|CONNECTION_STRING|WEBHOOK)S?$")
# Beyond what `masked` knows: name and password in an address, tokens of Hugging Face and GitHub, webhooks' addresses.
LOOKS = re.compile(
    r"(?i)(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|\b(?:hf|ghp|gho|ghs|github_pat|xox[abp])[_-][\w-]{10,}"
    r"|(?<=hooks\.slack\.com/)\S+|(?<=password=)[^\s;&]+|(?<=token=)[^\s;&]+|(?<=secret=)[^\s;&]+"
)


@dataclass(frozen=True)
class Message:
    """What is told. `what` is a line; `why` a line for each reason; `run` is empty for checks without a run."""

    what: str
    why: tuple[str, ...]
    remedy: str
    run: str = ""
    job: str = ""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Message":
        return cls(**{**values, "why": tuple(values["why"])})


def of_checks(ending: Ending, failed: Sequence[CheckEvaluation]) -> Message:
    """The failed checks of one version of an asset, listed together."""
    first = failed[0]
    names = ", ".join(each.check for each in failed)
    version = f" of version {first.subject[:12]}" if first.subject else ""
    blocking = any(each.blocking and not each.warning for each in failed)
    kind = "blocking check" if blocking else "warning" if all(each.warning for each in failed) else "check"
    plural = "s" if len(failed) > 1 else ""
    why = [f"{each.check}: {each.description}" if each.description else each.check for each in failed]
    return _message(
        f"{first.asset}: {kind}{plural} failed{version}: {names}",
        why,
        remedies.of_checks(first.asset, blocking=blocking),
        ending,
    )


def of_step(ending: Ending, step: str, error: Error) -> Message:
    """A step that failed."""
    remedy = error.remedy or remedies.of_step(step)
    return _message(f"{step} failed in a run of {ending.job}", [error.words], remedy, ending)


def of_run(ending: Ending, error: Error) -> Message:
    """A run that failed, and none of its steps did."""
    return _message(f"a run of {ending.job} failed", [error.words], error.remedy or remedies.RUN, ending)


def _message(what: str, why: Iterable[str], remedy: str, ending: Ending) -> Message:
    reasons = [cut(clean(reason), WHY_CHARACTERS) for reason in why]
    if len(reasons) > REASONS:
        reasons = [*reasons[:REASONS], f"and {len(reasons) - REASONS} more"]
    return Message(clean(what), tuple(reasons), clean(remedy), ending.run_id, ending.job)


def clean(words: str) -> str:
    """The words without the secrets of this process, and without what looks like one."""
    known = {**variables(), **os.environ}
    secrets = [value for name, value in known.items() if SECRET_NAME.search(name) and len(value) >= 8]
    paths = [each.partition("://")[2].partition("/")[2] for each in secrets]
    return LOOKS.sub(MASK, masked(words, [*secrets, *(path for path in paths if len(path) >= 8)])).strip()


def cut(words: str, most: int) -> str:
    """The beginning of the words, with an ellipsis where some are left out; at most `most` characters."""
    return words if len(words) <= most else f"{words[: most - 1].rstrip()}…"
