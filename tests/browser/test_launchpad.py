"""Dagster's launchpad shows what a training and a candidate can be told, with descriptions, ready to be edited."""

import pytest

from tests.support.chromium import text_of, wait_for

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(
    ("job", "op", "fields"),
    [
        ("retrain", "fine_tuned_model", ("preset", "dataset")),
        ("candidate", "train_candidate", ("preset", "dataset", "learning_rate", "lora_rank")),
    ],
)
def test_the_launchpad_shows_the_config(browser, dg_dev, job, op, fields):
    browser.get(f"{dg_dev}/locations/phi_assets/jobs/{job}/playground")

    wait_for(browser, lambda page: op in text_of(page) and all(f"{name}:" in text_of(page) for name in fields))
