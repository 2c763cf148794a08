"""Automation on a laptop: a real Dagster daemon trains on and deploys new data, with a two-layer model."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from phi_assets.project import PROJECT
from tests.support.chromium import chromium, text_of, wait_for
from tests.support.daemon import Watched, asked_all_the_time, watching, webhook
from tests.support.homes import OWN, tiny_home

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(900)]

NEW = PROJECT / "data" / "new_product" / "conversations.jsonl"
WAVE = {"fine_tuned_model", "model_evaluation", "registered_model", "online_deployment", "chat_flow_evaluation"}
UNTOUCHED = {
    "base_model",
    "replay_conversations",
    "ml_workspace",
    "training_compute",
    "training_environment",
    "online_endpoint",
    "endpoint_connection",
}


def lines(path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def told():
    with webhook() as opened:
        yield opened


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def watched(told, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    (folder / "conversations.jsonl").write_text("".join(f"{line}\n" for line in lines(OWN)[:150]), encoding="utf-8")
    home = tiny_home(folder, folder / "conversations.jsonl", 3900)
    home.settings.update({"PHI_WATCH_SECONDS": "2", "PHI_WEBHOOK": told.address, "PHI_RETRAIN_COOLDOWN_MINUTES": "0"})
    with watching(home) as its:
        assert home.phi("status").returncode == 0
        yield its


@pytest.fixture(scope="module")
def first(watched) -> dict[str, Any]:
    """The output of `phi why` for an answer of the first model, right after the answer."""
    return asked_why(watched, watched.home.told("ask", "Hello?")["id"])


def asked_why(watched: Watched, answer: str) -> dict[str, Any]:
    return watched.home.told("why", answer)


def settle(watched: Watched, since: float) -> None:
    """Wait until every run has ended and the retraining policy has nothing to do."""

    def quiet() -> bool:
        reasons = watched.ticks("retraining_policy", since)
        nothing = ("the model was trained on", "are needed; ", "did not pass", "0 new conversations")
        return watched.idle() and bool(reasons) and any(words in reasons[0] for words in nothing)

    watched.wait("the end of every run", quiet, 240)


def test_a_file_in_the_inbox_is_learned_from_and_serves_without_a_click(watched, first):
    assert first["answer"]["model_version"] == "1"
    began = time.time()
    before = watched.record("online_deployment")
    with asked_all_the_time(watched.home) as asked:
        watched.drop("umbra.jsonl", lines(NEW))
        watched.wait(
            "a new deployment",
            lambda: watched.record("online_deployment")["model_version"] != before["model_version"],
            240,
        )
        settle(watched, time.time())

    assert asked.failures == []
    made = watched.made(began)
    assert set(made) >= {"chat_dataset", *WAVE}
    assert not UNTOUCHED & set(made)
    assert {asset: made[asset] for asset in made if made[asset] > 1} == {}
    (retrained,) = [run for run in watched.runs(began) if run.job_name == "retrain"]
    assert retrained.tags["phi/reason"].startswith("50 new conversations since the last training on 1")
    assert watched.home.told("ask", "Hello?")["model_version"] == "2"
    assert watched.home.phi("status").returncode == 0


@pytest.mark.browser
def test_the_lineage_of_the_deployment_leads_back_to_the_conversations(watched, browser):
    browser.set_window_size(3600, 1400)  # the page draws only what is inside the window

    browser.get(f"{watched.home.ui()}/assets/online_deployment?view=lineage&lineageScope=upstream&lineageDepth=9")

    way = {"raw_conversations", "chat_dataset", "fine_tuned_model", "model_evaluation", "registered_model"}
    wait_for(browser, lambda page: way <= set(text_of(page).split()))


@pytest.mark.browser
@pytest.mark.parametrize(
    ("sensor", "reason"),
    [("retraining_policy", "the model was trained on the newest dataset"), ("new_conversations", "nothing new: ")],
)
def test_the_page_of_a_sensor_shows_its_ticks_with_their_reasons(watched, browser, sensor, reason):
    from selenium.webdriver.common.by import By

    browser.set_window_size(1600, 1000)
    browser.get(f"{watched.home.ui()}/locations/phi_assets/sensors/{sensor}")
    browser.find_element(By.XPATH, "//button[contains(text(), '0 runs requested')]").click()

    wait_for(browser, lambda page: reason in text_of(page))


def test_the_same_file_and_a_renamed_copy_start_nothing(watched):
    began = time.time()

    watched.drop("umbra.jsonl", lines(NEW))
    watched.drop("another_name.jsonl", lines(NEW))
    time.sleep(8)  # until the file counts as complete
    since = time.time()
    watched.wait("looks at the copy", lambda: len(watched.ticks("new_conversations", since)) > 1, 60)

    assert watched.observed(began) == 0
    assert watched.runs(began) == []


def test_a_file_of_garbage_is_stopped_at_the_dataset_and_told_once(watched, told):
    began = time.time()
    told.told.clear()
    good = lines(OWN)[150:155]

    watched.drop("garbage.jsonl", [*good, *['{"messages": [{"role": "user"'] * 45])
    watched.wait("the notification", lambda: told.told, 120)
    watched.wait("the policy's word", lambda: "did not pass" in watched.ticks("retraining_policy", began)[0], 60)
    time.sleep(6)  # time in which a second notification would arrive

    assert len(told.told) == 1
    assert "few_broken_rows" in told.told[0]
    assert "garbage.jsonl" in told.told[0]
    assert "fine_tuned_model" not in watched.made(began)
    assert watched.home.told("ask", "Hello?")["model_version"] == "2"

    (watched.inbox / "garbage.jsonl").unlink()
    watched.wait("the mended dataset", lambda: watched.made(began)["chat_dataset"] == 2, 120)
    settle(watched, time.time())
    assert "fine_tuned_model" not in watched.made(began)


def test_each_conversation_is_taken_in_once_while_runs_go_and_the_daemon_is_killed(watched):
    began = time.time()
    conversations = lines(OWN)[160:260]
    for tick in range(20):
        for number in range(5):
            watched.drop(f"tick-{tick:02}-{number}.jsonl", [conversations[5 * tick + number]])
        time.sleep(2)
        if tick in (7, 14):
            watched.kill_daemon()
    files = {path.name for path in watched.inbox.glob("tick-*")}

    def places() -> list[str]:
        """Return an entry for each dropped conversation: its published row, or its file in the quarantine."""
        folder = Path(watched.record("chat_dataset")["address"])
        rows = [
            json.loads(line) for side in ("train", "validation", "test") for line in lines(folder / f"{side}.jsonl")
        ]
        quarantined = [json.loads(line) for line in lines(folder / "quarantine.jsonl")]
        published = Counter(json.dumps(row["messages"]) for row in rows)
        dropped = [row["file"] for row in quarantined if Path(row["file"]).name in files and row["action"] == "dropped"]
        return [
            *(text for text, times in published.items() for _ in range(times) if text in texts),
            *dropped,
        ]

    texts = {json.dumps(json.loads(line)["messages"]) for line in conversations}
    watched.wait("every conversation in the dataset", lambda: len(places()) >= len(conversations), 240)
    settle(watched, time.time())

    assert len(places()) == len(set(places())) == len(conversations)
    assert watched.made(began)["fine_tuned_model"] >= 1
    assert watched.failed_steps(began) == []


def test_an_answer_from_before_three_retrainings_still_leads_to_what_made_it(watched, first):
    trained = watched.made()["fine_tuned_model"]
    for more in range(max(4 - trained, 0)):
        before = watched.made()["registered_model"]
        watched.drop(f"more-{more}.jsonl", lines(OWN)[260 + 20 * more : 280 + 20 * more])
        watched.wait("another model", lambda before=before: watched.made()["registered_model"] > before, 240)
        settle(watched, time.time())

    now = asked_why(watched, first["answer"]["id"])

    told = ("answer", "question", "model_digest", "trained", "deployed", "dataset", "nearest")
    assert {name: now[name] for name in told} == {name: first[name] for name in told}
    assert (first["model_state"], now["model_state"]) == ("champion", "former")
    newest = asked_why(watched, watched.home.told("ask", "Hello?")["id"])
    assert newest["answer"]["model_version"] == watched.record("registered_model")["version"]
    assert newest["dataset"]["digest"] != first["dataset"]["digest"]
