"""Tokens are drawn from the requested distribution."""

import math

import pytest
import torch

from serving_code.sampling import Chooser, Sampling, TokenChoice


def chosen(chooser: Chooser, logits: list[float]) -> TokenChoice:
    return chooser.choose(torch.tensor(logits), logits.index(max(logits)))


def draws(logits: list[float], sampling: Sampling, count: int) -> list[int]:
    chooser = Chooser(sampling, [])
    return [chosen(chooser, logits).token for _ in range(count)]


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


def test_top_k_and_min_p_keep_the_likeliest():
    logits = [math.log(share) for share in (0.5, 0.3, 0.15, 0.05)]

    assert set(draws(logits, Sampling(temperature=1.0, top_k=3, seed=1), 500)) == {0, 1, 2}
    assert set(draws(logits, Sampling(temperature=1.0, min_p=0.5, seed=1), 500)) == {0, 1}


def test_penalties_and_bias_change_the_next_choice():
    logits = [2.0, 1.5, 0.0]

    assert draws(logits, Sampling(), 3) == [0, 0, 0]
    assert draws(logits, Sampling(frequency_penalty=0.4), 4) == [0, 0, 1, 0]
    assert draws(logits, Sampling(presence_penalty=1.0), 4) == [0, 1, 0, 0]
    assert draws(logits, Sampling(repetition_penalty=1.5), 3) == [0, 1, 0]
    assert draws(logits, Sampling(logit_bias=((2, 5.0), (0, -100.0))), 3) == [2, 2, 2]


def test_repetition_counts_the_prompt_too_and_raises_nothing_below_zero():
    chooser = Chooser(Sampling(repetition_penalty=2.0), prompt=[0, 1])

    assert chosen(chooser, [2.0, -1.0, 1.5]).token == 2


def test_log_probabilities_are_the_models_own():
    chooser = Chooser(Sampling(temperature=0.5, seed=1, logprobs=2, logit_bias=((0, -100.0),)), [])

    choice = chosen(chooser, [math.log(0.5), math.log(0.3), math.log(0.2)])

    assert choice.logprob == pytest.approx(math.log(0.3 if choice.token == 1 else 0.2), abs=1e-5)
    assert [token for token, _ in choice.top] == [0, 1]


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
        ({"top_k": -1}, "top_k"),
        ({"min_p": 1.1}, "min_p"),
        ({"presence_penalty": 2.1}, "presence_penalty"),
        ({"frequency_penalty": math.nan}, "frequency_penalty"),
        ({"repetition_penalty": 0.0}, "repetition_penalty"),
        ({"logit_bias": ((1, 101.0),)}, "logit_bias"),
        ({"logprobs": 21}, "log probabilities"),
        ({"stop": ("",)}, "stop string"),
        ({"stop": ("x",) * 17}, "stop strings"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(fields, named):
    with pytest.raises(ValueError, match=named):
        Sampling(**fields)
