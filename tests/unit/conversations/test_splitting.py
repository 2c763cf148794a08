from collections import Counter
from collections.abc import Iterable

import pytest

from phi_assets.conversations.grouping import Placed, Side, group
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.rows import Conversation, Message, conversation_id
from phi_assets.conversations.splitting import Split, SplitRow, split, targets, verbatim_share
from tests.support.conversations import WORDS, distinct

ANY_SIZE = CleaningOptions(minimum_split_rows=0, minimum_split_groups=0)


def rows(numbers: Iterable[int]) -> dict[str, Conversation]:
    """Conversations that are unlike each other, by id."""
    made = [tuple(Message(**message) for message in distinct(number)["messages"]) for number in numbers]
    return {conversation_id(conversation): conversation for conversation in made}


def alike(family: int, members: int) -> dict[str, Conversation]:
    """Conversations that differ in their last word only."""
    text = " ".join(f"{word}{family}" for word in WORDS)
    made = [(Message("user", f"{text} {member}"), Message("assistant", f"ok {family}")) for member in range(members)]
    return {conversation_id(conversation): conversation for conversation in made}


def sides(made: Split) -> dict[str, Side]:
    return {row.id: side for side in made.rows for row in made.rows[side]}


def places(made: Split) -> dict[str, Placed]:
    return {row.id: Placed(side, row.group) for side in made.rows for row in made.rows[side]}


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, (0, 0, 0)),
        (1, (1, 0, 0)),
        (2, (2, 0, 0)),
        (3, (1, 1, 1)),
        (5, (3, 1, 1)),
        (30, (24, 3, 3)),
        (312, (250, 31, 31)),
    ],
)
def test_the_shares_are_met_to_the_row_and_three_rows_reach_every_split(count: int, expected: tuple[int, int, int]):
    made = split(rows(range(count)), {}, CleaningOptions())
    assert tuple(made.counts().values()) == tuple(targets(count, CleaningOptions()).values()) == expected


def test_the_shares_are_settings_and_none_is_allowed():
    made = split(rows(range(100)), {}, CleaningOptions(validation_share=0.3, test_share=0))
    assert made.counts() == {"train": 70, "validation": 30, "test": 0}
    assert not any("test" in warning for warning in made.warnings)


@pytest.mark.guide("download-dataset")
def test_the_same_rows_in_another_order_split_the_same_way_and_another_seed_differs():
    given = rows(range(200))
    backwards = dict(reversed(given.items()))
    one, other = (split(rows_given, {}, CleaningOptions()).rows for rows_given in (given, backwards))
    assert {side: [*one[side]] for side in one} == {side: [*other[side]] for side in other}
    assert sides(split(given, {}, CleaningOptions())) != sides(split(given, {}, CleaningOptions(seed=1)))


def test_near_duplicates_are_one_group_on_one_side():
    given = rows(range(300))
    families = [alike(family, 5) for family in range(40)]
    for family in families:
        given |= family
    made = split(given, {}, CleaningOptions())
    assert made.grouped_near_duplicates
    assert made.warnings == []
    assert made.near_duplicate_groups() == 40
    where = places(made)
    for family in families:
        assert {where[row] for row in family} == {where[min(family)]}
        assert where[min(family)].group == min(family)
    for side, target in targets(500, CleaningOptions()).items():
        assert abs(made.counts()[side] - target) <= 5


def test_a_group_larger_than_validation_goes_to_training():
    big = alike(1, 120)
    made = split(rows(range(300)) | big, {}, CleaningOptions())
    assert {sides(made)[row] for row in big} == {"train"}
    assert made.counts() == {"train": 336, "validation": 42, "test": 42}


def test_too_few_groups_for_a_test_fall_back_to_exact_duplicates_with_a_warning():
    given = {}
    for family in range(16):
        given |= alike(family, 30)
    made = split(given, {}, CleaningOptions())
    assert not made.grouped_near_duplicates
    assert made.counts() == {"train": 384, "validation": 48, "test": 48}
    assert made.groups() == made.counts()
    assert "only exact duplicates are grouped" in made.warnings[0]
    assert "at least 20 rows in 10 groups" in made.warnings[0]


def test_a_dataset_that_fell_back_takes_new_rows_without_calling_them_bridges():
    given = {}
    for family in range(16):
        given |= alike(family, 30)
    first = split(given, {}, CleaningOptions())
    more = given | alike(3, 33)
    second = split(more, places(first), CleaningOptions())
    assert second.bridging == []
    assert sum(second.counts().values()) == 483
    assert places(second).items() >= places(first).items()
    assert not second.grouped_near_duplicates


def test_a_small_dataset_is_split_and_warned_about():
    made = split(rows(range(30)), {}, CleaningOptions())
    assert made.counts() == {"train": 24, "validation": 3, "test": 3}
    assert "a small dataset: 3 rows in 3 groups for validation and 3 rows in 3 groups for test" in made.warnings[0]


def test_a_new_row_joins_the_side_of_its_published_near_duplicates():
    family = alike(1, 4)
    old = rows(range(300)) | dict(list(family.items())[:1])
    first = split(old, {}, CleaningOptions())
    second = split(rows(range(300)) | family, places(first), CleaningOptions())
    assert {sides(second)[row] for row in family} == {sides(first)[next(iter(family))]}
    assert {places(second)[row].group for row in family} == {next(iter(family))}


def chain(*steps: int) -> dict[str, Conversation]:
    """Conversations of sixty words, the n-th with its first n words changed: alike (0.8) within four steps only."""
    made = []
    for step in steps:
        words = [f"new{number}" if number < step else f"old{number}" for number in range(60)]
        made.append((Message("user", " ".join(words)), Message("assistant", "ok")))
    return {conversation_id(conversation): conversation for conversation in made}


def test_a_new_row_between_two_sides_is_left_out_and_named():
    ends = list(chain(0)) + list(chain(8))
    old = rows(range(300)) | chain(0, 8)
    keep = places(split(old, {}, CleaningOptions()))
    keep |= {ends[0]: Placed("train", ends[0]), ends[1]: Placed("test", ends[1])}
    made = split(old | chain(4), keep, CleaningOptions())
    assert made.bridging == list(chain(4))
    assert sides(made)[ends[0]] == "train"
    assert sides(made)[ends[1]] == "test"
    assert next(iter(chain(4))) not in sides(made)


def test_of_a_chain_between_two_sides_only_one_link_is_left_out():
    ends = [*chain(0), *chain(20)]
    links = chain(4, 8, 12, 16)
    keep = {ends[0]: Placed("train", ends[0]), ends[1]: Placed("test", ends[1])}
    made = split(chain(0, 20) | links | rows(range(300)), keep, ANY_SIZE)
    assert len(made.bridging) == 1
    assert set(made.bridging) < set(links)
    where = sides(made)
    assert where[next(iter(chain(4)))] == "train"
    assert where[next(iter(chain(16)))] == "test"


def test_a_row_that_comes_back_goes_where_the_group_named_by_it_is():
    keep = {"b": Placed("test", "a")}
    assert group([["a"], ["b"], ["c"]], lambda ids: [], keep).placed == {
        "a": Placed("test", "a"),
        "b": Placed("test", "a"),
    }


def test_removed_rows_vanish_and_the_others_stay():
    first = split(rows(range(200)), {}, CleaningOptions())
    second = split(rows(range(50, 200)), places(first), CleaningOptions())
    assert sum(second.counts().values()) == 150
    assert places(second).items() <= places(first).items()


def test_new_rows_go_where_the_shares_lack_most():
    keep = {row: Placed("train", row) for row in rows(range(100))}
    made = split(rows(range(125)), keep, CleaningOptions())
    assert made.counts() == {"train": 100, "validation": 12, "test": 13} or made.counts() == {
        "train": 101,
        "validation": 12,
        "test": 12,
    }


def test_the_share_of_test_turns_that_training_holds_word_for_word():
    def said(*texts: str) -> Conversation:
        return tuple(Message("assistant" if number % 2 else "user", text) for number, text in enumerate(texts))

    made: dict[Side, list[SplitRow]] = {
        "train": [SplitRow("a", "a", said("Hello?", "Hi.", "Bye.", "See you."))],
        "validation": [],
        "test": [SplitRow("b", "b", said("Hello?", "hi.")), SplitRow("c", "c", said("Bye.", "So long."))],
    }
    assert verbatim_share(made) == 0.5
    assert verbatim_share({**made, "test": []}) == 0


def test_every_row_is_in_exactly_one_split():
    given = rows(range(150)) | alike(1, 20)
    made = split(given, {}, CleaningOptions())
    counts = Counter(row.id for side in made.rows for row in made.rows[side])
    assert set(counts) == set(given)
    assert set(counts.values()) == {1}
