"""What an error in Dagster's event log says: its own words, its remedy, and by what it is known again."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

import dagster as dg

from phi_assets.graph import check_gates

REMEDY = "remedy"
# What differs between two times of the same error: ids, digests, addresses in memory, numbers.
CHANGING = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b|\d+")


@dataclass(frozen=True)
class Error:
    """An error's kind and words. `refused` is the asset and the version that a gate did not let pass."""

    kind: str
    words: str
    remedy: str = ""
    refused: tuple[str, str] | None = None

    @property
    def fingerprint(self) -> str:
        """Equal for the same error at another time."""
        return hashlib.sha256(f"{self.kind}: {CHANGING.sub('#', self.words)}".encode()).hexdigest()[:16]

    @property
    def of_checks(self) -> bool:
        """A step that failed because a blocking check said no: the check itself says why."""
        return self.kind == "DagsterAssetCheckFailedError"


def of_step(event: dg.DagsterEvent) -> Error:
    """The error of a step that failed."""
    data = event.step_failure_data
    said = data.user_failure_data
    if said is None:
        return _of(data.error, event.message or "no reason was recorded")
    remedy, asset, subject = (_text(said.metadata, name) for name in (REMEDY, check_gates.ASSET, check_gates.SUBJECT))
    words = (said.description or "").strip().removesuffix(remedy).rstrip(" ;:,") or _of(data.error, "").words
    kind = data.error.cls_name if data.error and data.error.cls_name else "Failure"
    return Error(kind, words, remedy, (asset, subject) if asset and subject else None)


def of_run(event: dg.DagsterEvent) -> Error:
    """The error of a run that failed without a step that did."""
    data: Any = event.event_specific_data
    return _of(data.error if data else None, event.message or "no reason was recorded")


def _of(error: Any, otherwise: str) -> Error:
    chain = []
    while error is not None:
        chain.append(error)
        error = error.cause
    # Dagster wraps what an asset raised; what is under the wrapping says what was wrong.
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
