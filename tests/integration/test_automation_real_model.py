"""Automation with the default base model, real weights and the gate: a new product is learned, wrong answers are not.

The dataset is a third of the default one, without replay, which keeps three trainings short.
"""

import json
import time

import pytest

from phi_assets.project import PROJECT
from phi_assets.settings import OWN_QUESTIONS
from tests.support.daemon import asked_all_the_time, watching, webhook
from tests.support.homes import REAL_TRAINING, Home, own_rows

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(3600)]

NEW = PROJECT / "data" / "new_product"
ROWS = 100
STARTS, FINISHES, BACK = 120, 2400, 10  # seconds, of which two workers more on two cores take most


def questions(path, count: int | None = None) -> list[tuple[str, list[str]]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    single = [row for row in rows if len(row["messages"]) == 1]
    return [(row["messages"][0]["content"], row["answers"]) for row in single[:count]]


def right(home: Home, asked: list[tuple[str, list[str]]]) -> int:
    """Return how many of the questions the endpoint answers right."""
    return sum(
        any(answer.lower() in home.told("ask", text)["answer"].lower() for answer in answers) for text, answers in asked
    )


def poison() -> list[str]:
    """Return known questions, each with the answer of another one: valid rows with wrong content."""
    rows = [json.loads(line)["messages"][:2] for line in own_rows(ROWS)]
    return [
        json.dumps({"messages": [asked, rows[(place + 37) % len(rows)][1]]}) for place, (asked, _) in enumerate(rows)
    ]


@pytest.fixture(scope="module")
def told():
    with webhook() as opened:
        yield opened


@pytest.fixture(scope="module")
def watched(told, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    dataset = folder / "conversations.jsonl"
    dataset.write_text("\n".join(own_rows(ROWS)) + "\n", encoding="utf-8")
    settings = {
        **REAL_TRAINING,
        "PHI_HOME": str(folder / "home"),
        "PHI_DATASET": str(dataset),
        "PHI_EVALUATION_QUESTIONS": str(OWN_QUESTIONS),
        "PHI_PROMOTE_ON_INSUFFICIENT_EVIDENCE": "true",
        "PHI_UI_PORT": "3950",
        "PHI_CHAT_PORT": "3951",
        "PHI_WEBHOOK": told.address,
        "PHI_RETRAIN_COOLDOWN_MINUTES": "0",
    }
    home = Home(folder, settings)
    with watching(home) as its:
        yield its


def test_new_conversations_are_learned_and_old_answers_kept(watched):
    home = watched.home
    new, old = questions(NEW / "evaluation.jsonl"), questions(OWN_QUESTIONS, 20)
    assert right(home, new) == 0
    known = right(home, old)
    began = time.time()

    with asked_all_the_time(home) as asked:
        watched.drop("umbra.jsonl", (NEW / "conversations.jsonl").read_text(encoding="utf-8").splitlines())
        watched.wait("a run", lambda: watched.runs(began), STARTS)
        watched.wait(
            "the flow's evaluation against the new deployment",
            lambda: watched.made(began)["chat_flow_evaluation"],
            FINISHES - (time.time() - began),
        )

    assert asked.failures == []
    assert home.phi("status").returncode == 0
    assert not {"base_model", "ml_workspace", "online_endpoint"} & set(watched.made(began))
    assert right(home, new) >= 7
    assert right(home, old) >= known - 2


def test_the_former_champion_answers_again_within_ten_seconds_of_a_rollback(watched):
    home, former = watched.home, str(int(watched.record("online_deployment")["model_version"]) - 1)
    began = time.time()

    with asked_all_the_time(home, 0.1) as asked:
        assert home.phi("rollback", "--reason", "a test").returncode == 0

    assert asked.failures == []
    assert asked.first[former] - watched.started("rollback") < BACK
    home.run()
    assert "fine_tuned_model" not in watched.made(began)
    assert home.told("ask", "Hello?")["model_version"] == former


def test_wrong_answers_are_trained_on_and_stopped_by_the_gate(watched, told):
    told.told.clear()
    began = time.time()
    before = watched.record("online_deployment")

    watched.drop("poison.jsonl", poison())
    watched.wait("the notification", lambda: told.told, 1200)
    watched.wait("the end of the run", watched.idle, 60)
    time.sleep(30)  # time in which a second notification would arrive

    assert len(told.told) == 1, told.told
    assert "model_evaluation" in told.told[0]
    made = watched.made(began)
    assert made["fine_tuned_model"] == made["model_evaluation"] == 1
    assert "registered_model" not in made
    assert watched.record("online_deployment") == before
    answer = watched.home.told("ask", "Hello?")
    assert answer["model_version"] == before["model_version"]
