"""Tokens are drawn from the requested distribution."""

import math

import pytest
import torch

from serving_code.sampling import Chooser, Sampling


def draws(logits: list[float], sampling: Sampling, count: int) -> list[int]:
    chooser = Chooser(sampling, [])
    return [chooser.choose(torch.tensor(logits)).token for _ in range(count)]


def test_temperature_zero_takes_the_likeliest():
    assert draws([0.0, 3.0, 1.0], Sampling(), 5) == [1] * 5


def test_draws_follow_the_softened_probabilities():
    sampling = Sampling(temperature=2.0, seed=1)

    drawn = draws([0.0, 2.0 * math.log(3.0)], sampling, 4000)

    assert sum(drawn) / len(drawn) == pytest.approx(0.75, abs=0.03)


def test_top_p_keeps_the_smallest_set_that_reaches_it():
    logits = [math.log(share) for share in (0.5, 0.3, 0.15, 0.05)]

    drawn = draws(logits, Sampling(temperature=1.0, top_p=0.6, seed=1), 1000)

    assert set(drawn) == {0, 1}


def test_a_tiny_top_p_leaves_the_likeliest():
    assert set(draws([1.0, 2.0, 0.0], Sampling(temperature=2.0, top_p=1e-6, seed=1), 50)) == {1}


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    logits = [0.0] * 50

    assert draws(logits, Sampling(temperature=1.0, seed=-7), 20) == draws(
        logits, Sampling(temperature=1.0, seed=-7), 20
    )
    assert draws(logits, Sampling(temperature=1.0, seed=-7), 20) != draws(logits, Sampling(temperature=1.0, seed=8), 20)


def test_without_a_seed_two_answers_differ():
    assert draws([0.0] * 50, Sampling(temperature=1.0), 20) != draws([0.0] * 50, Sampling(temperature=1.0), 20)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.1}, "top_p"),
        ({"stop": ("",)}, "stop string"),
        ({"stop": ("x",) * 17}, "stop strings"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        Sampling(**fields)
