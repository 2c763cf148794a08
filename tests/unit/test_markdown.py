"""Texts of users and models in Markdown: they show themselves, and do nothing."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from phi_assets import markdown
from phi_assets.markdown import Markdown
from phi_assets.plain_text import plain_text
from phi_assets.project import PROJECT
from tests.support.hostile_markdown import ALL, HARMLESS, PLEASANT, bare_addresses, kinds, parsed, shown
from tests.support.hostile_texts import dangerous

PIECES = st.sampled_from(
    [*"\\`*_[]()<>!#|~$&@:/.- \n\t\"'=+1ax한ر", "http://", "www.", "x@y.z", "```", "![", "](", "\u202e"]
)
TEXTS = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60)


def _as_read(text: str) -> str:
    return plain_text(text).strip(" ")


@pytest.mark.parametrize("kind", ALL)
def test_a_hostile_text_is_a_paragraph_of_itself(kind: str):
    written = markdown.text(ALL[kind])

    assert kinds(written) <= HARMLESS
    assert shown(written) == _as_read(ALL[kind])
    assert list(bare_addresses(written)) == []
    assert dangerous(written) == ""


@pytest.mark.parametrize("kind", ALL)
def test_a_hostile_text_stays_in_its_cell(kind: str):
    written = markdown.table(("a", ALL[kind]), [(ALL[kind], "b"), ("c", ALL[kind])])

    assert kinds(written) <= HARMLESS | {"table", "thead", "tbody", "tr", "th", "td"}
    cells = [token.content for token in parsed(written) if token.type == "inline"]
    assert [shown(cell) for cell in cells] == ["a", *[_as_read(ALL[kind])] * 2, "b", "c", _as_read(ALL[kind])]
    assert list(bare_addresses(written)) == []


@pytest.mark.parametrize("kind", ALL)
def test_a_hostile_text_stays_in_its_list_and_in_its_code(kind: str):
    written = markdown.joined((markdown.bullets([ALL[kind], "b"]), markdown.code(ALL[kind])), "\n\n")

    assert kinds(written) <= HARMLESS | {"bullet_list", "list_item"}
    assert list(bare_addresses(written)) == []


@pytest.mark.parametrize("kind", ALL)
def test_no_line_of_a_text_ends_its_block_of_code(kind: str):
    tokens = parsed(markdown.joined((markdown.block(ALL[kind], "yaml"), "after"), "\n\n"))

    assert [token.type for token in tokens[:2]] == ["fence", "paragraph_open"]
    assert tokens[0].content.strip("\n") == plain_text(ALL[kind], lines=True).strip("\n")


@given(TEXTS)
@example("www.`@|")
@example("a_b _ __ _c")
@example("1.")
@example("\xa0 \u3000")
def test_any_text_is_shown_as_itself_and_is_read_back(text: str):
    written = markdown.text(text)

    assert kinds(written) <= HARMLESS
    assert shown(written) == _as_read(text)
    assert list(bare_addresses(written)) == []
    assert markdown.plain(written) == _as_read(text)


@given(TEXTS, TEXTS)
@example("", "\xa0")
def test_any_text_stays_in_its_cell(one: str, other: str):
    written = markdown.table(("first", "second"), [(one, other)])

    cells = [token.content for token in parsed(written) if token.type == "inline"]
    assert [shown(cell) for cell in cells] == ["first", "second", _as_read(one), _as_read(other)]


@pytest.mark.parametrize("text", PLEASANT)
def test_a_normal_text_is_written_as_it_is(text: str):
    assert markdown.text(text) == text


def test_the_direction_of_text_is_shown_and_joiners_and_variants_stay():
    assert shown(markdown.text("a\u202eb \u2066c\u2069 \u200f")) == "a\\u202eb \\u2066c\\u2069 \\u200f"
    assert markdown.text("می\u200cخواهم 👩\u200d🔬 ✔\ufe0f \u06dd") == "می\u200cخواهم 👩\u200d🔬 ✔\ufe0f \u06dd"  # noqa: RUF001


def test_what_is_cut_says_so():
    assert markdown.text("x" * 10_000, 5) == "xxxxx… (10,000 characters)"
    assert markdown.text("x" * 5, 5) == "xxxxx"


def test_a_long_word_is_escaped_in_little_time():
    assert len(markdown.text("a:" * 500_000)) == 1_000_000
    assert markdown.text("*" * 100_000).count("\\") == 100_000


def test_a_link_leads_to_a_page_of_the_ui_whatever_its_name_holds():
    written = markdown.link("run](x)", "runs", "../graphql?query=x)")

    links = [token for token in parsed(written) if token.type == "link_open"]
    assert [token.attrs["href"] for token in links] == ["/runs/..%2Fgraphql%3Fquery%3Dx%29"]


def test_markdown_is_not_escaped_twice_and_a_str_made_of_it_is():
    once = markdown.text("*x*")

    assert markdown.text(once) is once
    assert markdown.text(f"{once}") == "\\\\\\*x\\\\\\*"


# Where a module says that its text is Markdown, or what a check says: nothing there may be a text of users and models.
WRITTEN_HERE = {
    "phi_assets/defs/chat/metadata.py": 1,  # the README of the project's own flow
    "phi_assets/defs/evaluation/answers.py": 2,
    "phi_assets/defs/evaluation/model_card.py": 1,  # rendered by model_card/text.py, which escapes each value
    "phi_assets/defs/infrastructure/azure_resources.py": 1,  # by `forecast`, which escapes each value
    "phi_assets/defs/operations/answer_lineage.py": 1,
    "phi_assets/defs/operations/candidates.py": 1,
    "phi_assets/graph/metadata_values.py": 3,
    "phi_assets/model_card/text.py": 1,
}
ONLY_MODULE = "phi_assets/graph/metadata_values.py"


def _calls() -> list[tuple[str, str, ast.Call]]:
    found = []
    for path in sorted((PROJECT / "phi_assets").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                found.append((str(path.relative_to(PROJECT)), ast.unparse(node.func).rpartition(".")[2], node))
    return found


def test_only_one_module_makes_markdown_metadata():
    assert {place for place, name, _ in _calls() if name in ("md", "MarkdownMetadataValue")} == {ONLY_MODULE}


def test_every_place_that_calls_a_text_markdown_is_listed():
    places = [place for place, name, _ in _calls() if name == "Markdown" and place != "phi_assets/markdown.py"]

    assert {place: places.count(place) for place in places} == WRITTEN_HERE


def test_what_a_check_says_is_escaped_because_the_ui_shows_it_as_markdown():
    results = [call for _, name, call in _calls() if name == "AssetCheckResult"]
    said = [ast.unparse(each.value) for call in results for each in call.keywords if each.arg == "description"]

    assert len(said) == len(results) > 3
    assert [words for words in said if not words.startswith("markdown.text(")] == []


def test_programs_that_run_bare_write_no_markdown():
    programs = [
        path.read_text(encoding="utf-8")
        for name in ("training_code", "evaluation_code", "serving_code", "dataset_code")
        for path in Path(PROJECT / name).rglob("*.py")
    ]

    assert [text for text in programs if re.search(r"""\w\.md["']""", text)] == []


def test_a_str_is_no_markdown_metadata():
    from phi_assets.graph import metadata_values

    with pytest.raises(TypeError, match="a str is not Markdown"):
        metadata_values.markdown("![x](y)")  # type: ignore[arg-type]
    assert metadata_values.markdown(Markdown("*x*")).value == "*x*"


def test_a_text_is_not_cut_between_a_letter_and_its_marks():
    assert markdown.text("दिल्ली", 1).startswith("… ")
    assert markdown.text("दिल्ली", 2).startswith("दि…")
    assert markdown.text("abcd", 2).startswith("ab…")
