import random

import numpy as np
import pytest

from phi_assets.conversations.near_duplicates import NearDuplicates, bands, jaccard, shingles
from phi_assets.conversations.rows import Conversation, Message
from tests.support.conversations import WORDS


def conversation(text: str, system: str = "") -> Conversation:
    system_turn = (Message("system", system),) if system else ()
    return (*system_turn, Message("user", text), Message("assistant", "yes"))


def test_shingles_are_runs_of_words_whatever_their_case_and_punctuation():
    one = shingles(conversation("The cat, sat - on the MAT!"), 3)
    two = shingles(conversation("the cat sat on the mat"), 3)
    assert np.array_equal(one, two)
    assert len(one) == 5


def test_similarity_is_shared_shingles_over_all_shingles():
    one = shingles((Message("user", "a b c d e f"),), 3)
    two = shingles((Message("user", "a b c d e g"),), 3)
    assert jaccard(one, two) == pytest.approx(3 / 5)
    assert jaccard(one, one) == 1


def test_word_order_matters_and_the_system_message_does_not():
    assert jaccard(shingles(conversation("a b c d"), 3), shingles(conversation("d c b a"), 3)) < 0.2
    assert np.array_equal(shingles(conversation("a b c"), 3), shingles(conversation("a b c", "Be brief."), 3))


@pytest.mark.parametrize("text", ["", "?!", "one", "\u4f60\u597d\u5417"])
def test_texts_shorter_than_a_shingle_are_compared_whole(text: str):
    same, other = (shingles((Message("user", said),), 3) for said in (text, f"{text} quite another one"))
    assert jaccard(same, same) == 1
    assert jaccard(same, other) < 1


def test_characters_of_chinese_count_as_words():
    one = shingles((Message("user", "\u6211\u4eec\u4eca\u5929\u53bb\u516c\u56ed\u6563\u6b65"),), 3)
    assert len(one) == 7


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9, 0.99, 1.0])
def test_a_pair_at_the_threshold_becomes_a_candidate_almost_surely(threshold: float):
    count, rows = bands(threshold)
    assert count * rows <= 128
    assert 1 - (1 - threshold**rows) ** count >= 0.9999


def varied(count: int, seed: int) -> list[Conversation]:
    """Texts of thirty words, each made from an earlier one by changing none to twelve of them."""
    draw = random.Random(seed)
    texts: list[list[str]] = [[*draw.choices(WORDS, k=30)]]
    for _ in range(count - 1):
        text = list(draw.choice(texts))
        for _ in range(draw.randrange(13)):
            text[draw.randrange(30)] = draw.choice(WORDS) + str(draw.randrange(50))
        texts.append(text)
    return [(Message("user", " ".join(text)),) for text in texts]


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_exactly_the_pairs_that_comparing_all_would_find_are_found(threshold: float):
    texts = varied(250, seed=3)
    sets = [shingles(text, 3) for text in texts]
    every = {(i, j) for i in range(250) for j in range(i) if jaccard(sets[i], sets[j]) >= threshold}
    assert len(every) > 50
    assert set(NearDuplicates(texts, threshold, 3).pairs()) == every


def test_components_are_what_chains_of_pairs_connect():
    texts = varied(250, seed=4)
    found = NearDuplicates(texts, 0.8, 3)
    of = {position: number for number, component in enumerate(found.components()) for position in component}
    pairs = list(found.pairs())
    assert pairs
    assert all(of[left] == of[right] for left, right in pairs)
    # As many components as rows, less one for every pair that connects something new.
    seen, joins = {position: {position} for position in range(250)}, 0
    for left, right in pairs:
        if seen[left] is not seen[right]:
            joins += 1
            seen[left] |= seen[right]
            for position in seen[right]:
                seen[position] = seen[left]
    assert len(set(of.values())) == 250 - joins


def test_thousands_of_rows_on_one_template_are_one_component():
    draw = random.Random(5)
    template = " ".join(draw.choices(WORDS, k=20) + [f"w{number}" for number in range(180)])
    texts = [(Message("user", f"{template} {draw.randrange(10**9)} {number}"),) for number in range(3_000)]
    assert [*NearDuplicates(texts, 0.8, 3).components()] == [list(range(3_000))]


def test_rows_of_a_template_that_are_almost_alike_are_compared_a_bounded_number_of_times(
    monkeypatch: pytest.MonkeyPatch,
):
    draw = random.Random(6)
    texts = []
    for _ in range(1_500):
        words = [f"w{number}" for number in range(100)]
        for _ in range(4):
            words[draw.randrange(100)] = f"x{draw.randrange(10**6)}"
        texts.append((Message("user", " ".join(words)),))
    compared = []
    compare = NearDuplicates._compare
    monkeypatch.setattr(
        NearDuplicates,
        "_compare",
        lambda self, later, earlier: compared.append(len(later)) or compare(self, later, earlier),
    )
    components = [*NearDuplicates(texts, 0.8, 3).components()]
    assert len(components) > 1_000  # at this similarity hardly any pair passes, and nearly all pairs are candidates
    assert sum(compared) < 150 * len(texts)
