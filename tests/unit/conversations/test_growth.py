"""What holds however a dataset grows and shrinks."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phi_assets.conversations.grouping import Placed
from phi_assets.conversations.near_duplicates import jaccard, shingles
from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.rows import Conversation, Message, conversation_id
from phi_assets.conversations.splitting import Split, split

Step = tuple[int, int]


def conversation(family: int, step: int) -> Conversation:
    """Within a family, conversations are near duplicates when their steps are close, and unlike when they are far."""
    words = [f"f{family}new{number}" if number < step else f"f{family}old{number}" for number in range(60)]
    return (Message("user", " ".join(words)), Message("assistant", f"answer {family}"))


stages = st.lists(
    st.sets(st.tuples(st.integers(0, 6), st.integers(0, 30)), min_size=1, max_size=25), min_size=2, max_size=4
)
sizes = st.sampled_from([(0, 0), (3, 2), (20, 10)])


def apply(steps: set[Step], keep: dict[str, Placed], options: CleaningOptions) -> Split:
    conversations = {conversation_id(made): made for made in (conversation(*step) for step in steps)}
    made = split(conversations, keep, options)
    placed = {row.id for rows in made.rows.values() for row in rows}
    assert placed | set(made.bridging) == set(conversations)
    assert not placed & set(made.bridging)
    return made


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(stages=stages, sizes=sizes)
def test_a_published_row_never_changes_side_or_group(stages: list[set[Step]], sizes: tuple[int, int]):
    options = CleaningOptions(minimum_split_rows=sizes[0], minimum_split_groups=sizes[1])
    keep: dict[str, Placed] = {}
    for steps in stages:
        made = apply(steps, keep, options)
        for side in made.rows:
            for row in made.rows[side]:
                assert keep.setdefault(row.id, Placed(side, row.group)) == Placed(side, row.group)
        assert not set(made.bridging) & set(keep)
        sides_of_groups = {(place.group, place.side) for place in keep.values()}
        assert len({name for name, _ in sides_of_groups}) == len(sides_of_groups)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(stages=stages)
def test_no_two_near_duplicates_are_on_different_sides_while_data_is_added(stages: list[set[Step]]):
    options = CleaningOptions(minimum_split_rows=0, minimum_split_groups=0)
    keep: dict[str, Placed] = {}
    steps: set[Step] = set()
    for added in stages:
        steps |= added
        made = apply(steps, keep, options)
        keep = {row.id: Placed(side, row.group) for side in made.rows for row in made.rows[side]}
        said = [(side, shingles(row.conversation, 3)) for side in made.rows for row in made.rows[side]]
        for number, (side, words) in enumerate(said):
            for other_side, other_words in said[:number]:
                assert side == other_side or jaccard(words, other_words) < 0.8


@settings(max_examples=40, deadline=None, derandomize=True)
@given(steps=st.sets(st.tuples(st.integers(0, 40), st.sampled_from([0, 30])), min_size=3, max_size=60))
def test_three_rows_that_are_unlike_reach_every_split_and_the_shares_are_near(steps: set[Step]):
    made = apply(steps, {}, CleaningOptions(minimum_split_rows=0, minimum_split_groups=0))
    assert min(made.counts().values()) >= 1
    assert abs(made.counts()["test"] - len(steps) / 10) <= 1
