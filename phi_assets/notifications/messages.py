"""The message about an incident: what failed, why, and what to do. Secrets are masked before it is stored."""

import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from phi_assets.notifications import remedies
from phi_assets.notifications.event_log import CheckEvaluation, Ending
from phi_assets.notifications.step_errors import Error
from phi_assets.plain_text import plain_text
from phi_assets.redaction import MASK, masked
from phi_assets.settings import variables

WHY_CHARACTERS = 600  # of one reason
REASONS = 12
# Environment variables with these names hold secrets, whatever their values look like.
SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|CONNECTION_STRING|WEBHOOK)S?$")
# Beyond what `masked` knows: name and password in an address, tokens of Hugging Face and GitHub, webhooks' addresses.
SECRET_PATTERN = re.compile(
    r"(?i)(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|\b(?:hf|ghp|gho|ghs|github_pat|xox[abp])[_-][\w-]{10,}"
    r"|(?<=hooks\.slack\.com/)\S+|(?<=password=)[^\s;&]+|(?<=token=)[^\s;&]+|(?<=secret=)[^\s;&]+"
)


@dataclass(frozen=True)
class Message:
    """A message. `what` is one line; `why` is one line per reason; `run` is empty for checks without a run."""

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
    """Return one message for all failed checks of one version of an asset."""
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
    """Return the message for a failed step."""
    remedy = error.remedy or remedies.of_step(step)
    return _message(f"{step} failed in a run of {ending.job}", [error.words], remedy, ending)


def of_run(ending: Ending, error: Error) -> Message:
    """Return the message for a run that failed without a failed step."""
    return _message(f"a run of {ending.job} failed", [error.words], error.remedy or remedies.RUN, ending)


def _message(what: str, why: Iterable[str], remedy: str, ending: Ending) -> Message:
    reasons = [cut(clean(reason), WHY_CHARACTERS) for reason in why]
    if len(reasons) > REASONS:
        reasons = [*reasons[:REASONS], f"and {len(reasons) - REASONS} more"]
    return Message(clean(what), tuple(reasons), clean(remedy), ending.run_id, ending.job)


def clean(words: str) -> str:
    """Return plain text, with this process's secrets, and whatever looks like a secret, masked."""
    known = {**variables(), **os.environ}
    secrets = [value for name, value in known.items() if SECRET_NAME.search(name) and len(value) >= 8]
    paths = [each.partition("://")[2].partition("/")[2] for each in secrets]
    text = SECRET_PATTERN.sub(MASK, masked(words, [*secrets, *(path for path in paths if len(path) >= 8)]))
    return plain_text(text, lines=True).strip()


def cut(text: str, maximum: int) -> str:
    """Return the text, truncated to `maximum` characters with an ellipsis if it is longer."""
    return text if len(text) <= maximum else f"{text[: maximum - 1].rstrip()}…"
