"""The default model learns of a new product by itself: real weights, the gate on, twenty minutes on two cores."""

import json
import time

import pytest

from phi_assets.settings import PROJECT
from tests.homes import OWN, Home
from tests.watching import Watched, asked_all_the_time

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(3600)]

NEW = PROJECT / "data" / "new_product"
STARTS, FINISHES = 120, 720  # seconds


def questions(path, count: int | None = None) -> list[tuple[str, list[str]]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    single = [row for row in rows if len(row["messages"]) == 1]
    return [(row["messages"][0]["content"], row["answers"]) for row in single[:count]]


def right(home: Home, asked: list[tuple[str, list[str]]]) -> int:
    """How many of the questions the endpoint answers right."""
    return sum(
        any(
            answer.lower() in json.loads(home.phi("ask", text, "--json").stdout)["answer"].lower() for answer in answers
        )
        for text, answers in asked
    )


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    home = Home(folder, {"PHI_HOME": str(folder / "home"), "PHI_UI_PORT": "3950", "COLUMNS": "200"})
    home.run()
    its = Watched(home)
    its.start()
    yield its
    its.stop()
    home.phi("down")


def test_new_conversations_are_learned_and_old_answers_kept(watched):
    home = watched.home
    new, old = questions(NEW / "evaluation.jsonl"), questions(OWN.parent / "evaluation.jsonl", 20)
    assert right(home, new) == 0
    known = right(home, old)
    began = time.time()

    with asked_all_the_time(home) as failures:
        watched.drop("umbra.jsonl", (NEW / "conversations.jsonl").read_text(encoding="utf-8").splitlines())
        watched.wait("a run", lambda: watched.runs(began), STARTS)
        watched.wait(
            "the flow's evaluation against the new deployment",
            lambda: watched.made(began)["chat_flow_evaluation"],
            FINISHES - (time.time() - began),
        )

    assert failures == []
    assert home.phi("status").returncode == 0
    assert not {"base_model", "ml_workspace", "online_endpoint"} & set(watched.made(began))
    assert right(home, new) >= 7
    assert right(home, old) >= known - 2
