"""The intervals against known cases."""

import numpy as np
import pytest
from scipy import stats

from evaluation_code.intervals import paired_difference, wilson


@pytest.mark.parametrize(("right", "count"), [(0, 1), (0, 80), (1, 80), (68, 80), (79, 80), (80, 80), (7, 9)])
def test_the_wilson_interval_is_scipys(right: int, count: int):
    expected = stats.binomtest(right, count).proportion_ci(method="wilson")
    share = wilson(right, count)
    assert share.share == right / count
    assert (share.lower, share.upper) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_of_nothing_has_no_bounds():
    assert wilson(0, 0).share is wilson(0, 0).lower is wilson(0, 0).upper is None


def test_a_constant_difference_has_bounds_of_no_width():
    found = paired_difference([9.0, 19.0, 29.0], [10.0, 20.0, 30.0], [10, 10, 10], ["a", "b", "c"], seed=1)
    assert (found.difference, found.lower, found.upper) == pytest.approx((-0.1, -0.1, -0.1))
    assert (found.rows, found.groups, found.draws) == (3, 3, 2000)


def test_the_mean_is_the_bits_over_the_bytes_and_not_the_mean_of_the_rows():
    found = paired_difference([0.0, 0.0], [10.0, 10.0], [1, 99], ["a", "b"], seed=0)
    assert found.difference == pytest.approx(-20 / 100)


def test_the_bounds_are_those_of_the_bootstrap_in_scipy():
    rng = np.random.default_rng(5)
    theirs = rng.uniform(50, 150, 60)
    ours = theirs - rng.normal(8, 12, 60)
    found = paired_difference(list(ours), list(theirs), [50] * 60, list(range(60)), seed=0, draws=20_000)
    expected = stats.bootstrap(
        ((ours - theirs) / 50,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (found.lower, found.upper) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_copies_within_a_group_are_no_further_evidence():
    rng = np.random.default_rng(3)
    theirs = rng.uniform(50, 150, 30)
    ours = theirs - rng.normal(3, 12, 30)
    once = paired_difference(list(ours), list(theirs), [50] * 30, list(range(30)), seed=0)
    copies = paired_difference(
        list(np.repeat(ours, 9)), list(np.repeat(theirs, 9)), [50] * 270, list(np.repeat(range(30), 9)), seed=0
    )
    assert (copies.difference, copies.lower, copies.upper) == pytest.approx((once.difference, once.lower, once.upper))
    assert (copies.rows, copies.groups) == (270, 30)


def test_equal_seeds_give_equal_bounds_and_other_seeds_other_ones():
    ours = list(np.random.default_rng(0).normal(0, 1, 30))
    rows = (ours, [0.0] * 30, [3] * 30, list(range(30)))
    assert paired_difference(*rows, seed=7) == paired_difference(*rows, seed=7)
    assert paired_difference(*rows, seed=7).lower != paired_difference(*rows, seed=8).lower


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_gives_no_difference(bad: float):
    found = paired_difference([1.0, bad], [2.0, 2.0], [5, 5], ["a", "b"], seed=0)
    assert found.difference is found.lower is found.upper is None


def test_no_rows_give_no_difference():
    assert paired_difference([], [], [], [], seed=0).difference is None
