"""The Markdown table of answers."""

import json

import pytest

from phi_assets.defs.evaluation.answers import answers_table, read_questions
from tests.support.hostile_markdown import ALL, HARMLESS, bare_addresses, kinds
from tests.support.tiny_world import chat


def row(question: str, answer: str, **replies: str) -> dict:
    judged = {
        name: {"reply": text, "right": text == answer, "reason": "" if text == answer else "holds no accepted answer"}
        for name, text in replies.items()
    }
    return {"messages": chat(question, "")[:1], "answers": [answer], **judged}


def test_wrong_answers_come_first_with_the_reason_and_every_model_has_a_column():
    rows = [row("lamp 0?", "500", base="no", tuned="500"), row("lamp 1?", "501", base="501", tuned="I cannot say")]

    assert answers_table(rows).split("\n") == [
        "| question | expected | base | tuned |",
        "| --- | --- | --- | --- |",
        "| lamp 1? | 501 | ✅ 501 | ❌ I cannot say *(holds no accepted answer)* |",
        "| lamp 0? | 500 | ❌ no *(holds no accepted answer)* | ✅ 500 |",
    ]


def test_the_table_has_at_most_its_rows_and_they_are_spread_over_the_file():
    lines = answers_table([row(f"lamp {i}?", str(i), tuned=str(i)) for i in range(80)], rows=20).split("\n")

    assert len(lines) == 22
    assert [int(line.split()[2][:-1]) for line in lines[2:]] == list(range(0, 80, 4))


def test_a_question_with_history_shows_what_was_asked_before():
    asked = row("And its colour?", "teal", tuned="teal")
    asked["messages"] = [*chat("What is a Nook?", "A garden."), *asked["messages"]]

    assert answers_table([asked]).split("\n")[2].startswith("| What is a Nook? / And its colour? |")


def test_no_questions_are_said_in_words():
    assert answers_table([]) == "No evaluation questions: the test split alone decides."


@pytest.mark.parametrize("kind", ALL)
def test_nothing_that_is_asked_or_answered_acts_in_the_table(kind: str):
    hostile = row(ALL[kind], ALL[kind], base=ALL[kind], tuned="no", champion="no")
    hostile["tuned"]["reason"] = ALL[kind]
    written = answers_table([hostile])

    assert kinds(written) <= HARMLESS | {"table", "thead", "tbody", "tr", "th", "td", "em"}
    assert list(bare_addresses(written)) == []
    assert written.count("\n") == 2


def test_only_questions_are_read_from_the_rows_of_an_evaluation(tmp_path):
    rows = [{"kind": "test", "id": "1"}, {"kind": "question", "number": 1}, {"kind": "general", "number": 1}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    assert read_questions(tmp_path) == [{"kind": "question", "number": 1}]
