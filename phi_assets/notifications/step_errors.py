"""Extracts from an error in Dagster's event log its message, its remedy and a fingerprint."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.graph import check_gates

REMEDY = "remedy"
# The parts that differ between occurrences of an error: ids, digests, memory addresses, numbers.
CHANGING = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+")


@dataclass(frozen=True)
class Error:
    """An error's class and message. `refused`: the asset and the version that a check gate refused."""

    kind: str
    words: str
    remedy: str = ""
    refused: tuple[str, str] | None = None

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for all occurrences of an error."""
        return hashlib.sha256(f"{self.kind}: {CHANGING.sub('#', self.words)}".encode()).hexdigest()[:16]

    @property
    def of_checks(self) -> bool:
        """Whether the step failed because a blocking check failed; the check itself is reported."""
        return self.kind == "DagsterAssetCheckFailedError"


def of_step(event: dg.DagsterEvent) -> Error:
    """Return the error of a failed step."""
    data = event.step_failure_data
    said = data.user_failure_data
    if said is None:
        return _of(data.error, event.message or "no reason was recorded")
    remedy, asset, subject = (_text(said.metadata, name) for name in (REMEDY, check_gates.ASSET, check_gates.SUBJECT))
    words = (said.description or "").strip().removesuffix(remedy).rstrip(" ;:,") or _of(data.error, "").words
    kind = data.error.cls_name if data.error and data.error.cls_name else "Failure"
    return Error(kind, words, remedy, (asset, subject) if asset and subject else None)


def of_run(event: dg.DagsterEvent) -> Error:
    """Return the error of a run that failed without a failed step."""
    data: Any = event.event_specific_data
    return _of(data.error if data else None, event.message or "no reason was recorded")


def _of(error: Any, otherwise: str) -> Error:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause
    # Dagster wraps the exception of an asset; the wrapped one holds the reason.
    own = [each for each in chain if not str(each.cls_name).startswith("Dagster")] or chain[-1:]
    if not own:
        return Error("", otherwise.partition("\nStack Trace:")[0].strip())
    words, root = _words(own[0]), _words(own[-1])
    return Error(str(own[0].cls_name), words if root in words else f"{words} (from {root})")


def _words(error: Any) -> str:
    """`ValueError: no` of `some.module.ValueError: no`."""
    kind, colon, words = str(error.message).strip().partition(": ")
    return f"{kind.rpartition('.')[2]}{colon}{words}"


def _text(metadata: Any, name: str) -> str:
    value = (metadata or {}).get(name)
    return str(value.value) if value is not None else ""
