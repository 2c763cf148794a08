"""The Markdown table of answers."""

import pytest

from evaluation_code.answering import Reply
from evaluation_code.answers_table import answers_table, escape
from evaluation_code.inputs import Question
from evaluation_code.matching import answer_keys, judge
from tests.support.tiny_world import chat


def table(said: dict[str, list[str]], *, rows: int = 20) -> list[str]:
    size = len(said["tuned"])
    questions = [Question(({"role": "user", "content": f"lamp {i}?"},), (str(500 + i),)) for i in range(size)]
    keys = answer_keys(questions)
    replies = {
        name: [Reply(text, True, judge(text, key)) for text, key in zip(texts, keys, strict=True)]
        for name, texts in said.items()
    }
    return answers_table(questions, replies, rows=rows).splitlines()


def test_wrong_answers_come_first_with_the_reason_and_every_model_has_a_column():
    lines = table({"base": ["no", "no", "501 502"], "tuned": ["500", "It is 501.", "I cannot say"]})
    assert lines[0] == "| question | expected | base | tuned |"
    assert lines[2].startswith("| lamp 2? | 502 | ❌ 501 502 *(also says 501)* | ❌ I cannot say *(holds no accepted")
    assert lines[3] == "| lamp 0? | 500 | ❌ no *(holds no accepted answer)* | ✅ 500 |"


def test_the_table_has_at_most_its_rows_and_they_are_spread_over_the_file():
    lines = table({"tuned": [str(500 + i) for i in range(80)]}, rows=20)
    assert len(lines) == 22
    assert [int(line.split()[2][:-1]) for line in lines[2:]] == list(range(0, 80, 4))


def test_a_question_with_history_shows_what_was_asked_before():
    asked = Question((*chat("What is a Nook?", "A garden."), {"role": "user", "content": "And its colour?"}), ("teal",))
    replies = [Reply("Teal.", True, judge("Teal.", answer_keys([asked])[0]))]
    (line,) = answers_table([asked], {"tuned": replies}).splitlines()[2:]
    assert line.startswith("| What is a Nook? / And its colour? |")


def test_no_questions_are_said_in_words():
    assert answers_table([], {"base": [], "tuned": []}) == "No evaluation questions: the test split alone decides.\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a | b", r"a \| b"),
        ("two\nlines\r\nand\ttabs", "two lines and tabs"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("&lt;", "&amp;lt;"),
        ("[click](javascript:alert(1))", r"\[click\](javascript:alert(1))"),
        ("![x](http://a/b.png)", r"!\[x\](http\://a/b.png)"),
        ("see https://evil.test or www.evil.test", r"see https\://evil.test or www\.evil.test"),
        ("mail a@b.test", r"mail a\@b.test"),
        ("`code` *bold* _it_ ~no~ $x$", r"\`code\` \*bold\* \_it\_ \~no\~ \$x\$"),
        ("back\\slash|", r"back\\slash\|"),
        ("\u202eevil\u200b", "evil"),
        ("x" * 500, "x" * 239 + "…"),
    ],
)
def test_nothing_that_a_model_says_acts_in_the_table(text: str, shown: str):
    assert escape(text) == shown
