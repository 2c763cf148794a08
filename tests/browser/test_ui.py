import pytest

from tests.browser.conftest import end, free_port, start_dagster, wait_until_loaded
from tests.support.chromium import text_of, wait_for

pytestmark = pytest.mark.browser

STAGES = {"infrastructure", "dataset", "training", "evaluation", "serving", "chat"}


def test_the_graph_shows_every_stage(browser, phi_dev):
    browser.get(f"{phi_dev}/asset-groups")

    wait_for(browser, lambda page: all(stage in text_of(page) for stage in STAGES))


def test_an_asset_is_materialised_by_clicking(browser, phi_dev):
    from selenium.webdriver.common.by import By

    browser.get(f"{phi_dev}/assets/training_compute")
    wait_for(browser, lambda page: "The compute that training runs on" in text_of(page))
    assert "Never materialized" in text_of(browser)

    browser.find_element(By.XPATH, "//button[contains(., 'Materialize')]").click()

    wait_for(browser, lambda page: "Never materialized" not in text_of(page))
    browser.get(f"{phi_dev}/assets/training_compute")
    wait_for(browser, lambda page: "memory_gb" in text_of(page))
    browser.get(f"{phi_dev}/runs")
    wait_for(browser, lambda page: "Success" in text_of(page))


@pytest.mark.parametrize(
    ("job", "op", "fields"),
    [
        ("retrain", "fine_tuned_model", ("preset", "dataset")),
        ("candidate", "train_candidate", ("preset", "dataset", "learning_rate", "lora_rank")),
    ],
)
def test_the_launchpad_shows_what_a_training_and_a_candidate_can_be_told(browser, phi_dev, job, op, fields):
    browser.get(f"{phi_dev}/locations/phi_assets/jobs/{job}/playground")

    wait_for(browser, lambda page: op in text_of(page) and all(f"{name}:" in text_of(page) for name in fields))


@pytest.mark.long
@pytest.mark.integration
def test_dagster_dev_and_dg_dev_give_the_location_the_same_name(tmp_path, dg_dev):
    port = free_port()
    command = ["dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", str(port)]
    process = start_dagster(command, tmp_path)
    try:
        named = wait_until_loaded(process, f"http://127.0.0.1:{port}")
    finally:
        end(process)

    from tests.browser.conftest import location_names

    assert named == location_names(dg_dev) == ["phi_assets"]
