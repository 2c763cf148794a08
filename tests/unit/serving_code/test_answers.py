"""Storing questions and answers in a file: by a real server with a tiny model, and by AnswerStore alone."""

import json
import sqlite3
import stat
import time
from contextlib import closing

import pytest

from serving_code.__main__ import _answer_store
from serving_code.answers import DAY, AnswerStore, StoredAnswer, connect, write
from tests.unit.serving_code.conftest import running_server


def rows(path) -> list[dict]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM answers ORDER BY number")]


def kept(answer_id: str, at: float | None = None) -> StoredAnswer:
    return StoredAnswer(
        id=answer_id,
        at=time.time() if at is None else at,
        route="/score",
        deployment="blue",
        model_name="tiny",
        model_version="3",
        model_digest="d1g3st",
        messages=[{"role": "user", "content": "Who?"}],
        answer="Me.",
    )


@pytest.fixture
def file(tmp_path):
    return tmp_path / "home" / "answers.sqlite"


@pytest.fixture
def keeping(lively_model, file):
    with running_server(lively_model, answers=AnswerStore(file, days=7)) as running:
        yield running


def test_a_chat_answer_is_kept_as_its_client_saw_it(keeping, file):
    seen = keeping.chat(max_tokens=8).json()
    keeping.service.answers.close()

    (row,) = rows(file)
    assert (row["id"], row["answer"]) == (seen["id"], seen["choices"][0]["message"]["content"])
    assert json.loads(row["messages"]) == [{"role": "user", "content": "How do I reset the pump?"}]
    assert (row["route"], row["deployment"]) == ("/v1/chat/completions", "blue")
    assert (row["model_name"], row["model_version"], row["model_digest"]) == ("tiny", "3", "d1g3st")
    assert abs(row["at"] - time.time()) < 60


def test_a_client_that_keeps_the_words_itself_leaves_none_here(keeping, file):
    body = {"messages": [{"role": "user", "content": "secret"}], "max_tokens": 4}
    for stream in (False, True):
        answer = keeping.client.post(
            "/v1/chat/completions", json={**body, "stream": stream}, headers={"x-phi-keep": "no"}
        )
        assert answer.status_code == 200
    keeping.chat(max_tokens=4)
    keeping.service.answers.close()

    (row,) = rows(file)
    assert "secret" not in row["messages"]


def test_a_streamed_answer_is_kept_whole(keeping, file):
    lines = keeping.chat(max_tokens=8, stream=True).text.splitlines()
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    keeping.service.answers.close()

    (row,) = rows(file)
    assert row["id"] == chunks[0]["id"]
    assert row["answer"] == "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert row["answer"]


def test_score_keeps_a_row_for_each_input_without_the_text_before_the_answer(keeping, file):
    params = {"max_new_tokens": 4, "return_full_text": True}
    response = keeping.score({"input_data": ["First?", "Second?"], "params": params})
    keeping.service.answers.close()

    found = rows(file)
    request = response.headers["x-request-id"]
    assert [row["id"] for row in found] == [f"{request}/0", f"{request}/1"]
    assert [f"{asked}\n{row['answer']}" for asked, row in zip(("First?", "Second?"), found, strict=True)] == (
        response.json()
    )


def test_an_id_that_a_client_chose_twice_overwrites_nothing(keeping, file):
    for question in ("One?", "Two?"):
        messages = [{"role": "user", "content": question}]
        body = {"messages": messages, "max_tokens": 2}
        keeping.client.post("/v1/chat/completions", json=body, headers={"x-request-id": "mine"})
    keeping.service.answers.close()

    found = rows(file)
    assert [row["id"] for row in found] == ["chatcmpl-mine"] * 2
    assert ["One?" in row["messages"] for row in found] == [True, False]


def test_a_question_to_one_deployment_by_name_is_a_trial_and_not_kept(keeping, file):
    body = {"input_data": ["Hello?"], "params": {"max_new_tokens": 2}}
    pinned = keeping.client.post("/score", json=body, headers={"azureml-model-deployment": "blue"})
    refused = keeping.score({"input_data": []})
    keeping.service.answers.close()

    assert (pinned.status_code, refused.status_code) == (200, 422)
    assert rows(file) == []


def test_an_answer_goes_out_although_it_cannot_be_kept(lively_model, tmp_path, caplog):
    (tmp_path / "home").write_text("a file where a folder should be", encoding="utf-8")
    with running_server(lively_model, answers=AnswerStore(tmp_path / "home" / "answers.sqlite", 7)) as running:
        response = running.chat(max_tokens=2)

    assert response.status_code == 200
    lost = [record.fields for record in caplog.records if record.getMessage() == "answers_not_stored"]
    assert [fields["count"] for fields in lost if fields["what"] == "write"] == [1]
    assert "FileExistsError" in lost[0]["error"] or "NotADirectoryError" in lost[0]["error"]


def test_an_answer_goes_out_while_another_process_holds_the_file(keeping, file):
    with closing(connect(file)) as other:
        other.execute("BEGIN EXCLUSIVE")
        response = keeping.chat(max_tokens=2)
        assert response.status_code == 200
        assert rows(file) == []
        other.rollback()
    keeping.service.answers.close()

    assert [row["id"] for row in rows(file)] == [response.json()["id"]]


def test_two_keepers_write_the_same_new_file(file):
    keepers = [AnswerStore(file, 7) for _ in range(4)]
    for number in range(100):
        for at, keeper in enumerate(keepers):
            keeper.store([kept(f"{at}-{number}")])
    for keeper in keepers:
        keeper.close()

    assert {row["id"] for row in rows(file)} == {f"{at}-{number}" for at in range(4) for number in range(100)}


def test_the_file_is_for_its_owner_alone(file):
    with closing(connect(file)) as connection:
        write(connection, [kept("a")])
        modes = {stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}

    assert modes == {0o600}


def test_what_is_older_than_the_days_goes_when_a_server_starts(file):
    with closing(connect(file)) as connection:
        write(connection, [kept("old", time.time() - 8 * DAY), kept("young", time.time() - 6 * DAY)])

    AnswerStore(file, days=7).close()

    assert [row["id"] for row in rows(file)] == ["young"]


def test_with_zero_days_none_are_kept_and_none_stay(file):
    with closing(connect(file)) as connection:
        write(connection, [kept("young")])

    assert _answer_store(file, 0) is None
    assert rows(file) == []
    assert b"Who?" not in file.read_bytes()
