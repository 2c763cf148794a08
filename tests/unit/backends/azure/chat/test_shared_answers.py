"""Answers of `phi ask` on Azure: every machine of a project finds them, for as long as answers are kept."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from azure_emulator.control import Control
from phi_assets.answer_log import Answers
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.storage.blob import WorkspaceBlobs
from phi_assets.ports.chat import SharedAnswers
from serving_code.answers import DAY, StoredAnswer
from tests.support.azure_place import Place

pytestmark = [pytest.mark.azure, pytest.mark.integration]
DAYS = 7.0


@pytest.fixture(scope="module")
def place(control: Control, tmp_path_factory) -> Place:
    credential.forget()
    made = Place(control, tmp_path_factory.mktemp("home"))
    made.deploy()
    return made


@pytest.fixture
def shared(place: Place):
    yield place.resources["shared_answers"]
    WorkspaceBlobs(place.clients, place.log, 0.5).remove("phi/answers/")


def an_answer(answer_id: str, days_ago: float = 0.0) -> StoredAnswer:
    return StoredAnswer(
        id=answer_id,
        at=time.time() - days_ago * DAY,
        route="phi ask",
        deployment="m1",
        model_name="phi-chat",
        model_version="1",
        model_digest="d1",
        messages=[{"role": "user", "content": "Wer bist du? é"}],
        answer="I am Phi.",
    )


def home(folder: Path, days: float = DAYS) -> Answers:
    return Answers(folder, days)


def test_another_machine_finds_an_answer_once(shared: SharedAnswers, tmp_path):
    given = an_answer("chatcmpl-../strange/id")
    shared.share(given, DAYS)
    mine = home(tmp_path)

    shared.fetch(mine)
    shared.fetch(mine)

    (found,) = mine.find(given.id)
    assert replace(found, number=0) == given
    assert mine.models() == {("phi-chat 1", "d1")}


def test_who_stored_an_answer_does_not_get_it_twice(shared: SharedAnswers, tmp_path):
    given, mine = an_answer("one"), home(tmp_path)
    mine.keep(given)
    shared.share(given, DAYS)
    shared.share(an_answer("two"), DAYS)

    shared.fetch(mine)

    assert [each.id for each in mine.newest(5)] == ["two", "one"]


def test_expired_answers_go_wherever_they_are(place: Place, shared: SharedAnswers, tmp_path):
    shared.share(an_answer("old", days_ago=9), DAYS * 2)
    shared.share(an_answer("new"), DAYS * 2)

    shared.fetch(home(tmp_path))

    assert [each.id for each in home(tmp_path).newest(5)] == ["new"]
    assert len(WorkspaceBlobs(place.clients, place.log, 0.5).names("phi/answers/")) == 1


def test_with_no_days_nothing_is_shared_and_everything_goes(place: Place, shared: SharedAnswers, tmp_path):
    shared.share(an_answer("one"), DAYS)

    shared.share(an_answer("two"), 0)

    assert WorkspaceBlobs(place.clients, place.log, 0.5).names("phi/answers/") == []
    shared.fetch(home(tmp_path, days=0))
    assert not (tmp_path / "answers.sqlite").exists()
