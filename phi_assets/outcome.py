"""The outcome of a check: one type for data checks, promotion rules, live checks, freshness and verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CheckOutcome:
    """Whether a check passed, a description of why, and the numbers that decided it.

    `remedy` is what to do when it failed; where it is given, the description ends with it. `warning`: it passed, and a
    person should look at it.
    """

    passed: bool
    description: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    remedy: str = ""
    warning: bool = False
