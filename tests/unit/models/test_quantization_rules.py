"""In which form a model is served: each bar, and what is said."""

import pytest

from phi_assets.models.quantization_rules import judge

CLOSE = {
    "form": "int8",
    "tokens": 12_000,
    "test_tokens": 900,
    "agreement": 0.995,
    "kl": 0.0007,
    "bits_change": 0.001,
    "questions": {"count": 60, "right": {"full": 50, "quantized": 50}, "lower": -0.03},
}


def test_a_close_model_is_served():
    found = judge(CLOSE)

    assert (found.passed, found.warning) == (True, False)
    assert found.description.startswith("int8 is served: the likeliest token agrees for 99.50% of 12,000 answer tokens")
    assert "50 of 60 questions right (50 by the full model)" in found.description


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"agreement": 0.979}, "97.90% agree (the bar is 98%)"),
        ({"kl": 0.011}, "KL divergence 0.0110 (the bar is at most 0.01)"),
        ({"bits_change": 0.006}, "bits per byte +0.60% (the bar is +0.5%)"),
        ({"questions": {**CLOSE["questions"], "lower": -0.051}}, "right answers -5.1% (the bar is -5%)"),
        ({"tokens": 1_999}, "1,999 answer tokens to compare, at least 2,000 needed"),
        ({"agreement": float("nan")}, "nan% agree"),
    ],
)
def test_one_bar_missed_means_the_full_model_with_the_reason_and_no_error(change, said):
    found = judge({**CLOSE, **change})

    assert (found.passed, found.warning) == (True, True)
    assert found.description.startswith("the full model is served, because int8 is not close enough to it: ")
    assert said in found.description


def test_int4_has_bars_of_its_own():
    measured = {**CLOSE, "form": "int4", "agreement": 0.93, "kl": 0.07, "bits_change": 0.029}

    assert not judge(measured).warning
    assert judge({**measured, "agreement": 0.919}).warning


def test_few_tokens_are_named_and_missing_questions_decide_nothing():
    found = judge({**CLOSE, "tokens": 2_500, "questions": None})

    assert not found.warning
    assert found.description.endswith("only 2,500 answer tokens were there to compare")


def test_without_a_test_split_bits_decide_nothing():
    assert not judge({**CLOSE, "test_tokens": 0, "bits_change": 0.0}).warning
