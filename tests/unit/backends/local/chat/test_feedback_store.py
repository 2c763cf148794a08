"""From a rating in the chat's history over MLflow's review queue to a file that the dataset reads."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from chat_code.history_sqlite import SqliteHistory
from phi_assets.backends.azure.chat import ratings
from phi_assets.backends.dataset_preparation import DatasetPreparation
from phi_assets.backends.feedback_on_azure import AzureFeedbackStore
from phi_assets.backends.local.chat.feedback_store import LocalFeedbackStore
from phi_assets.backends.local.evaluation.registry import MlflowRegistry
from phi_assets.databases import CHAT_HISTORY
from phi_assets.errors import BackendError
from tests.support.chat_ratings import rated, store
from tests.support.reviews import decide

RATINGS = [
    rated("How long is the guarantee of the Nook?", "One year.", "Two years.", number=1, before=(("Hi", "Hello."),)),
    rated("Which lamp does the Loft have?", "None.", "The amber one.", number=2),
    rated("Who founded it?", "Signe did.", "", value="up", number=3),
    rated("What colour is it?", "Blue.", "", number=4),
]


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes seconds to make its tables."""
    folder = tmp_path_factory.mktemp("mlflow")
    MlflowRegistry(home=str(folder)).migrate()
    return folder / "mlflow.db"


@pytest.fixture
def feedback(tmp_path: Path, new_database: Path) -> LocalFeedbackStore:
    (tmp_path / "mlflow").mkdir()
    shutil.copy(new_database, tmp_path / "mlflow" / "mlflow.db")
    store(tmp_path / CHAT_HISTORY, RATINGS)
    return made(tmp_path)


def made(home: Path, **changed) -> LocalFeedbackStore:
    fields = {
        "state": str(home),
        "questions_file": None,
        "regions": ["US", "UK"],
        "names_model": "",
        "personal_data": "mask",
        "share": 0.2,
        "person_share": 0.25,
        "page_port": 5000,
    }
    (home / "mlflow").mkdir(exist_ok=True, parents=True)
    return LocalFeedbackStore(**{**fields, **changed})


def own_dataset(home: Path) -> DatasetPreparation:
    """Return the preparation of thirty conversations of a user's own, beside what was approved."""
    source = home / "own.jsonl"
    own = [
        {"messages": [{"role": "user", "content": f"What about {n}?"}, {"role": "assistant", "content": f"It is {n}."}]}
        for n in range(30)
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in own))
    return DatasetPreparation(home, str(source), {"near_duplicate_threshold": 1.0})


def test_only_what_a_person_approved_becomes_data(feedback, tmp_path):
    lines: list[str] = []
    before = feedback.reviewed()
    collected = feedback.collect(lines.append)
    assert (collected.rows, collected.corrections, collected.left_out) == (3, 2, {"no_correction": 1})
    assert feedback.find(collected.digest) == collected
    assert len(feedback.candidates(collected)) == 3
    assert feedback.reviewed() == before
    nothing = feedback.publish(300, lines.append)
    assert (nothing.rows, nothing.pending, nothing.address) == (0, 3, "")

    decide(tmp_path, "How long is the guarantee of the Nook?", "approve")
    decide(tmp_path, "Which lamp does the Loft have?", "reject", corrected="The violet one.")
    decide(tmp_path, "Who founded it?", status="declined")
    assert feedback.reviewed() != before
    published = feedback.publish(300, lines.append)

    assert (published.rows, published.rejected, published.pending) == (2, 1, 0)
    rows = [json.loads(line) for line in Path(published.address).read_text().splitlines()]
    learned = {row["messages"][-1]["content"] for row in rows if "messages" in row}
    assert learned == {"Two years.", "The violet one."}
    assert {row["rejected"] for row in rows if "rejected" in row} == {"One year.", "None."}
    assert feedback.find(published.digest) == published
    assert feedback.publish(300, lines.append) == published


def test_the_dataset_reads_what_was_approved_and_keeps_the_pairs(feedback, tmp_path):
    feedback.collect(print)
    decide(tmp_path, "How long is the guarantee of the Nook?", "approve")
    feedback.publish(None, print)
    preparation = own_dataset(tmp_path)
    version = preparation.publish(preparation.feeds(), print)
    assert sum(version.rows.values()) == 31
    manifest = json.loads((Path(version.address) / "manifest.json").read_text())
    assert "approved" in json.dumps(manifest.get("sources", manifest))
    splits = [Path(version.address) / f"{split}.jsonl" for split in ("train", "validation", "test")]
    rows = [json.loads(line) for split in splits for line in split.read_text().splitlines()]
    assert [row["id"] for row in rows if row["messages"][-1]["content"] == "Two years."] == manifest["reviewed_rows"]


def test_what_is_withdrawn_or_deleted_leaves_queue_and_data(feedback, tmp_path):
    feedback.collect(print)
    decide(tmp_path, "How long is the guarantee of the Nook?", "approve")
    decide(tmp_path, "Which lamp does the Loft have?", "approve")
    first = feedback.publish(300, print)
    assert first.rows == 2

    async def forget() -> None:
        history = SqliteHistory(tmp_path / CHAT_HISTORY)
        await history.rate("ann", "conversation-1", "answer-1", None)
        await history.delete("ann", "conversation-2")
        await history.close()

    rated_before = feedback.rated()
    asyncio.run(forget())
    assert feedback.rated() != rated_before
    assert feedback.publish(300, print).rows == 0  # also before they are collected anew
    lines: list[str] = []
    assert feedback.collect(lines.append).rows == 1
    assert "2 removed" in lines[-1]
    assert not Path(first.address).exists()
    for file in tmp_path.rglob("*"):
        if file.is_file():
            assert b"amber" not in file.read_bytes(), file


def test_the_same_ratings_again_change_nothing_and_an_evaluation_question_is_held_back(feedback, tmp_path):
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"messages": [{"role": "user", "content": "Who founded it?"}], "answers": ["x"]}))
    feedback = made(tmp_path, questions_file=str(questions))
    first = feedback.collect(print)
    lines: list[str] = []
    assert feedback.collect(lines.append) == first
    assert first.left_out == {"evaluation_question": 1, "no_correction": 1}
    assert "0 new in the review queue, 0 removed" in lines[-1]


def test_a_home_without_ratings_never_makes_a_queue(tmp_path):
    feedback = made(tmp_path)
    assert feedback.collect(print).rows == 0
    assert feedback.publish(None, print).rows == 0
    assert feedback.reviewed() == feedback.reviewed()
    assert list((tmp_path / "mlflow").iterdir()) == []


def test_the_share_of_a_dataset_is_limited(feedback, tmp_path):
    feedback.collect(print)
    for rating in RATINGS[:3]:
        decide(tmp_path, rating.turns[-1]["content"], "approve")
    limited = feedback.publish(8, print)  # a fifth of 10 are 2
    assert (limited.rows, limited.left_out) == (2, {"share of the dataset": 1})
    assert limited == feedback.publish(8 + limited.rows, print)  # what it published does not count as the dataset's own


def test_a_forgotten_conversation_is_found_only_where_it_is_listed(feedback, tmp_path):
    feedback.collect(print)
    decide(tmp_path, "Which lamp does the Loft have?", "approve")
    decide(tmp_path, "How long is the guarantee of the Nook?", "approve")
    feedback.publish(None, print)
    preparation = own_dataset(tmp_path)
    with_it = preparation.publish(preparation.feeds(), print)
    copy = tmp_path / "backups" / "history.sqlite"
    copy.parent.mkdir()
    copy.write_bytes((tmp_path / CHAT_HISTORY).read_bytes())

    forgotten = feedback.forget("conversation-2", None, print)

    assert (forgotten.conversations, forgotten.datasets, forgotten.models) == (1, (with_it.digest,), ())
    assert forgotten.copies == (str(copy),)
    listed = {copy, *Path(with_it.address).rglob("*")}
    for file in tmp_path.rglob("*"):
        if file.is_file() and file not in listed:
            assert b"amber" not in file.read_bytes(), file
    without_it = preparation.publish(preparation.feeds(), print)
    assert "amber" not in "".join(path.read_text() for path in Path(without_it.address).glob("*.jsonl"))
    assert "Two years." in "".join(path.read_text() for path in Path(without_it.address).glob("*.jsonl"))
    with pytest.raises(BackendError, match="no conversation 'conversation-2'"):
        feedback.forget("conversation-2", None, print)
    assert feedback.forget(None, None, print).conversations == 3
    assert feedback.rated() == made(tmp_path / "empty").rated()


FORGET = {
    "by command": lambda store, home: store.forget("conversation-2", None, print),
    "on the page": lambda store, home: (deleted_on_the_page(home, "conversation-2"), store.collect(print)),
}


def deleted_on_the_page(home: Path, conversation: str) -> None:
    async def delete() -> None:
        history = SqliteHistory(home / CHAT_HISTORY)
        await history.delete("ann", conversation)
        await history.close()

    asyncio.run(delete())


def texts(preparation: DatasetPreparation) -> str:
    version = preparation.publish(preparation.feeds(), print)
    return "".join(path.read_text(encoding="utf-8") for path in Path(version.address).glob("*.jsonl"))


@pytest.mark.parametrize("way", FORGET)
def test_a_tombstone_keeps_a_forgotten_answer_out_of_data_whoever_brings_it_back(feedback, tmp_path, way):
    history = (tmp_path / CHAT_HISTORY).read_bytes()
    preparation = own_dataset(tmp_path)
    feedback.collect(print)
    decide(tmp_path, "Which lamp does the Loft have?", "approve")
    exported = Path(feedback.publish(None, print).address).read_text(encoding="utf-8")
    assert "amber" in texts(preparation)
    before = preparation.fingerprint(preparation.feeds())

    FORGET[way](feedback, tmp_path)
    assert preparation.fingerprint(preparation.feeds()) != before  # so that the sensors see it
    with (tmp_path / "own.jsonl").open("a", encoding="utf-8") as file:
        file.write(exported.replace("Which lamp does the Loft have?", "which lamp  does the Loft have"))
    text = texts(preparation)

    assert "amber" not in text  # nor in the quarantine
    assert '"reason":"forgotten"' in text
    assert "It is 29." in text
    for file in (tmp_path / "feedback").rglob("*.json"):
        assert b"amber" not in file.read_bytes(), file

    (tmp_path / CHAT_HISTORY).write_bytes(history)
    again = feedback.collect(print)
    forgotten_for_good = way == "by command"
    assert again.rows == (2 if forgotten_for_good else 3)
    assert ("amber" in texts(preparation)) is not forgotten_for_good  # proposed anew, it may be learned


def test_what_other_rows_say_too_stays_in_the_data(feedback, tmp_path):
    preparation = own_dataset(tmp_path)
    with (tmp_path / "own.jsonl").open("a", encoding="utf-8") as file:
        turns = [("user", "Who founded it?"), ("assistant", "Signe did.")]
        file.write(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n")
    feedback.collect(print)
    texts(preparation)
    feedback.forget("conversation-3", None, print)
    assert "Signe did." in texts(preparation)


def test_a_person_is_forgotten_and_others_stay(feedback, tmp_path):
    store(tmp_path / CHAT_HISTORY, [rated("How long?", "Days.", "Hours.", user="bob", number=5)])
    assert feedback.collect(print).rows == 4
    with pytest.raises(BackendError, match="of 'carl'"):
        feedback.forget(None, "carl", print)
    with pytest.raises(BackendError, match="no conversation 'conversation-5'"):
        feedback.forget("conversation-5", "ann", print)
    assert feedback.forget(None, "ann", print).conversations == 4
    assert [each.question for each in feedback.candidates(feedback.collect(print))] == ["How long?"]


def test_on_azure_ratings_are_forgotten_and_the_history_is_left_to_its_people(feedback, tmp_path, monkeypatch):
    monkeypatch.setattr(ratings, "rated", lambda account, minutes: RATINGS)
    azure = AzureFeedbackStore(**dict(feedback), account={}, role_minutes=0.0)
    assert azure.collect(print).rows == 3
    with pytest.raises(BackendError, match="each deletes theirs in the chat's page"):
        azure.forget(None, "carl", print)
    forgotten = azure.forget("conversation-2", "ann", print)
    assert forgotten.conversations == 1
    assert "each deletes theirs" in forgotten.history
    assert azure.collect(print).rows == 2
