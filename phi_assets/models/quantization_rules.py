"""In which form a model is served: quantised, where that is measurably as good as the full model. Pure functions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.outcome import CheckOutcome

LEAST_TOKENS, ENOUGH_TOKENS = 2_000, 10_000
"""Answer tokens below which nothing is decided, and below which the verdict says how few there were."""
LEAST_RIGHT = -0.05
"""95% lower bound of the change of the share of right answers."""


@dataclass(frozen=True)
class Bars:
    """The least agreement of the likeliest token, and the greatest KL divergence (nats) and change of bits per byte."""

    agreement: float
    kl: float
    bits_change: float


BARS = {"int8": Bars(0.98, 0.01, 0.005), "int4": Bars(0.92, 0.08, 0.03)}


def judge(report: Mapping[str, Any]) -> CheckOutcome:
    """Whether the quantised model of the report is served, and by which numbers."""
    form, bars = report["form"], BARS[report["form"]]
    questions = report["questions"]
    lower = questions["lower"] if questions else None
    tokens = int(report["tokens"])
    bits = report["bits_change"] if report["test_tokens"] else None
    wrong = [
        *([f"{tokens:,} answer tokens to compare, at least {LEAST_TOKENS:,} needed"] if tokens < LEAST_TOKENS else []),
        *_unless(report["agreement"] >= bars.agreement, f"{report['agreement']:.2%} agree", f"{bars.agreement:.0%}"),
        *_unless(report["kl"] <= bars.kl, f"KL divergence {report['kl']:.4f}", f"at most {bars.kl:g}"),
        *_unless(
            bits is None or bits <= bars.bits_change, f"bits per byte {bits or 0:+.2%}", f"{bars.bits_change:+.1%}"
        ),
        *_unless(lower is None or lower >= LEAST_RIGHT, f"right answers {lower or 0:+.1%}", f"{LEAST_RIGHT:+.0%}"),
    ]
    few = f"; only {tokens:,} answer tokens were there to compare" if tokens < ENOUGH_TOKENS else ""
    measured = (
        f"the likeliest token agrees for {report['agreement']:.2%} of {tokens:,} answer tokens, "
        f"KL divergence {report['kl']:.4f} nats, bits per byte {report['bits_change']:+.2%}"
    )
    if questions:
        right = questions["right"]
        measured += (
            f", {right['quantized']} of {questions['count']} questions right ({right['full']} by the full model)"
        )
    numbers = {
        "tokens": tokens,
        "agreement": report["agreement"],
        "kl": report["kl"],
        "bits_change": report["bits_change"],
        "right_lower_bound": lower,
    }
    if wrong:
        said = f"the full model is served, because {form} is not close enough to it: {'; '.join(wrong)}"
        return CheckOutcome(True, said, numbers, warning=True)
    return CheckOutcome(True, f"{form} is served: {measured}{few}", numbers, warning=False)


def _unless(holds: bool, found: str, bar: str) -> list[str]:
    return [] if holds else [f"{found} (the bar is {bar})"]
