"""What Cosmos DB adds to the history's contract: faults, throttling, lagging replicas, roles, sizes, lifetimes."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chat_code.conversations import Feedback, Message, Served, now
from chat_code.errors import Changed, HistoryUnavailable, NotFound, Refused
from chat_code.history_cosmos import CosmosHistory
from tests.support.cosmos_place import CONTRIBUTOR, READER, CosmosPlace, cosmos_at

pytestmark = pytest.mark.azure
TALK = "conversation-1"
DAY = 86_400
CONSENT = Feedback("down", "", "right", consent=True, at="2026-11-29T00:00:00Z")
BATCH = "POST conversations/docs"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosPlace]:
    with cosmos_at(tmp_path_factory.mktemp("azure")) as found:
        found.control.hold_seconds(0.2)
        yield found


@pytest.fixture
def place(deployed: CosmosPlace) -> Iterator[CosmosPlace]:
    deployed.control.cosmos_empty()
    yield deployed
    deployed.control.clear_faults()


def question(number: int = 1, text: str = "hello", parent: str | None = None) -> Message:
    return Message(f"question-{number}", parent, "user", text, "done", now())


def answer(number: int = 1, **fields: Any) -> Message:
    return Message(f"answer-{number}", f"question-{number}", "assistant", "", "running", now(), **fields)


def answered(number: int = 1, text: str = "re: hello") -> Message:
    return replace(answer(number), content=text, state="done", served=Served("id", "blue"))


async def talk(history: CosmosHistory, user: str, conversation: str, text: str = "hello", number: int = 1) -> None:
    parent = f"answer-{number - 1}" if number > 1 else None
    await history.begin(user, conversation, question(number, text, parent), answer(number))
    await history.finish(user, conversation, answered(number, f"re: {text}"))


class Moved:
    """A history whose clock, and Cosmos DB's, is `days` ahead."""

    def __init__(self, place: CosmosPlace, keep_days: float) -> None:
        self._place, self._ahead = place, 0.0
        self.history = place.history(keep_days=keep_days, clock=self.now)

    def now(self) -> float:
        return time.time() + self._ahead

    def advance(self, days: float) -> None:
        self._ahead += days * DAY
        self._place.control.cosmos_advance(days * DAY)

    async def talk(self, number: int = 1, conversation: str = TALK, parent: str | None = None) -> None:
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(self.now()))
        asked, begun = replace(question(number, parent=parent), at=at), replace(answer(number), at=at)
        await self.history.begin("ann", conversation, asked, begun)
        await self.history.finish("ann", conversation, replace(answered(number), at=at))


# Faults


@pytest.mark.parametrize("fault", ["dropped", "timeout", "429", "503"])
def test_a_question_is_stored_once_whatever_happens_to_its_batch(place: CosmosPlace, fault: Any) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        place.control.fail_next(BATCH, fault)
        try:
            await history.begin("ann", TALK, question(2, parent="answer-1"), answer(2))
        except HistoryUnavailable:
            assert len(place.items()) == 3, "nothing of the batch"
            await history.begin("ann", TALK, question(2, parent="answer-1"), answer(2))
        header, messages = await history.read("ann", TALK)
        assert (header.head, len(messages)) == ("answer-2", 4)
        await history.close()

    asyncio.run(test())


def test_a_change_whose_answer_was_lost_is_no_change_of_another(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        before, _ = await history.read("ann", TALK)
        place.control.fail_next(BATCH, "dropped")
        renamed = await history.change("ann", TALK, title="mine", etag=before.etag)
        assert renamed.title == "mine"
        with pytest.raises(Changed):
            await history.change("ann", TALK, title="late", etag=before.etag)
        await history.close()

    asyncio.run(test())


def test_throttling_is_waited_for_and_a_storm_is_told_with_a_time_to_retry(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        place.control.fail_next("cosmos docs", "429", times=5)
        assert len((await history.read("ann", TALK))[1]) == 2
        place.control.fail_next("cosmos docs", "429", times=10_000)
        before = place.items()
        calls = (
            history.begin("ann", TALK, question(2, parent="answer-1"), answer(2)),
            history.finish("ann", TALK, answered()),
            history.read("ann", TALK),
            history.conversations("ann"),
            history.rate("ann", TALK, "answer-1", CONSENT),
            history.delete("ann", TALK),
            history.delete_all("ann"),
            history.spend("ann", "2026-11-29", requests=1, tokens=1),
        )
        for call in calls:
            with pytest.raises(HistoryUnavailable) as caught:
                await call
            assert caught.value.retry_after == 1
        assert place.items() == before
        place.control.clear_faults()
        await talk(history, "ann", TALK, "later", 2)
        await history.close()

    asyncio.run(test())


def test_a_client_that_could_not_open_opens_later(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        place.control.fail_next("GET cosmos", "503", times=10_000)
        with pytest.raises(HistoryUnavailable):
            await history.conversations("ann")
        place.control.clear_faults()
        assert await history.conversations("ann") == ([], "")
        await history.close()

    asyncio.run(test())


def test_a_lagging_replica_is_not_read_after_ones_own_batch(place: CosmosPlace) -> None:
    async def test() -> None:
        history, other = place.history(), place.history()
        await talk(history, "ann", TALK)
        place.control.cosmos_lags()
        await talk(history, "ann", TALK, "later", 2)
        assert len((await history.read("ann", TALK))[1]) == 4
        with pytest.raises(NotFound):  # another client has no token of these writes: so the replica does lag
            await other.read("ann", TALK)
        await history.close()
        await other.close()

    asyncio.run(test())


# Deletion


def test_a_deletion_that_was_cut_is_completed_by_its_repetition(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        for number in range(1, 66):
            await talk(history, "ann", TALK, number=number)
        await talk(history, "ann", "conversation-2")
        place.control.fail_next(BATCH, "503", times=10_000, after=2)  # the query of the messages, one batch of two
        with pytest.raises(HistoryUnavailable):
            await history.delete("ann", TALK)
        place.control.clear_faults()
        left = Counter(item["kind"] for item in place.items() if item["conversation"] == TALK)
        assert left == {"message": 30, "conversation": 1}, "the header is deleted last"
        assert len((await history.read("ann", TALK))[1]) == 30
        await history.delete("ann", TALK)
        assert {item["conversation"] for item in place.items()} == {"conversation-2"}
        with pytest.raises(NotFound):
            await history.delete("ann", TALK)
        await history.close()

    asyncio.run(test())


def test_deleting_all_of_more_than_a_batch_holds_survives_a_cut(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        for number in range(110):
            await talk(history, "ann", f"conversation-{number}")
        await talk(history, "bob", TALK)
        await history.spend("ann", "2026-11-29", requests=1, tokens=1)
        place.control.fail_next(BATCH, "503", times=10_000, after=5)
        with pytest.raises(HistoryUnavailable):
            await history.delete_all("ann")
        place.control.clear_faults()
        assert 0 < await history.delete_all("ann") <= 110
        assert await history.conversations("ann") == ([], "")
        assert {item["kind"] for item in place.items() if item["user_id"] == "ann"} == {"spent"}
        assert len([item for item in place.items() if item["user_id"] == "bob"]) == 3
        await history.close()

    asyncio.run(test())


def test_a_question_during_a_deletion_leaves_no_orphan(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        for run in range(10):
            conversation = f"conversation-{run}"
            await talk(history, "ann", conversation)
            again = history.begin("ann", conversation, question(2, parent="answer-1"), answer(2))
            await asyncio.gather(history.delete("ann", conversation), again, return_exceptions=True)
            kinds = Counter(item["kind"] for item in place.items() if item["conversation"] == conversation)
            assert kinds in ({}, {"conversation": 1, "message": 2}, {"conversation": 1, "message": 4})
        await history.close()

    asyncio.run(test())


# What may be used


def test_only_consented_answers_are_copied_and_every_way_out_takes_the_copy_away(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()

        async def consent(conversation: str = TALK) -> None:
            await history.rate("ann", conversation, "answer-1", CONSENT)
            assert [copy["conversation"] for copy in place.items("feedback")] == [conversation]

        await talk(history, "ann", TALK)
        await history.rate("ann", TALK, "answer-1", Feedback("up", "kept to myself"))
        assert place.items("feedback") == []
        await consent()
        await history.rate("ann", TALK, "answer-1", replace(CONSENT, consent=False))
        assert place.items("feedback") == []
        await consent()
        await history.rate("ann", TALK, "answer-1", None)
        assert place.items("feedback") == []
        await consent()
        await history.delete("ann", TALK)
        assert place.items("feedback") == []
        await talk(history, "ann", "conversation-2")
        await consent("conversation-2")
        await history.delete_all("ann")
        assert place.items("feedback") == []
        await history.close()

    asyncio.run(test())


def test_a_copy_whose_writing_failed_is_written_by_the_repeated_rating(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        await history.conversations("ann")
        place.control.fail_next("POST feedback/docs", "503", times=10_000)
        with pytest.raises(HistoryUnavailable):
            await history.rate("ann", TALK, "answer-1", CONSENT)
        place.control.clear_faults()
        assert [each async for each in history.rated()] == []
        await history.rate("ann", TALK, "answer-1", CONSENT)
        assert len([each async for each in history.rated()]) == 1
        await history.close()

    asyncio.run(test())


def test_a_withdrawal_that_was_cut_leaves_no_copy(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        await history.rate("ann", TALK, "answer-1", CONSENT)
        place.control.fail_next(BATCH, "503", times=10_000)
        with pytest.raises(HistoryUnavailable):
            await history.rate("ann", TALK, "answer-1", None)
        assert place.items("feedback") == []
        await history.close()

    asyncio.run(test())


def test_a_copy_has_the_answer_as_it_is_in_the_end(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await history.begin("ann", TALK, question(), answer())
        await history.rate("ann", TALK, "answer-1", CONSENT)
        await history.finish("ann", TALK, answered(text="the end"))
        [found] = [each async for each in history.rated()]
        assert (found.user, found.message.content, found.turns) == (
            "ann",
            "the end",
            [{"role": "user", "content": "hello"}],
        )
        await history.close()

    asyncio.run(test())


def test_agreeing_and_withdrawing_at_once_leaves_copy_and_message_alike(place: CosmosPlace) -> None:
    async def test() -> None:
        history, other = place.history(), place.history()
        for run in range(10):
            conversation = f"conversation-{run}"
            await talk(history, "ann", conversation)
            await asyncio.gather(
                history.rate("ann", conversation, "answer-1", CONSENT),
                other.rate("ann", conversation, "answer-1", None),
            )
            [stored] = [
                i for i in place.items() if i["conversation"] == conversation and i.get("message") == "answer-1"
            ]
            copies = [copy for copy in place.items("feedback") if copy["conversation"] == conversation]
            assert len(copies) == (1 if stored["feedback"] else 0)
        await history.close()
        await other.close()

    asyncio.run(test())


def test_the_pipelines_reader_reads_copies_of_all_users_and_nothing_else(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        for user in ("ann", "bob"):
            await talk(history, user, TALK, f"from {user}")
            await history.rate(user, TALK, "answer-1", CONSENT)
        reader = place.control.new_service_principal("pipeline")["oid"]
        place.control.give_role(reader, READER, place.scope("feedback"))
        pipeline = place.history(credential=place.credential(reader))
        assert sorted([each.user async for each in pipeline.rated()]) == ["ann", "bob"]
        for call in (pipeline.read("ann", TALK), pipeline.conversations("ann")):
            with pytest.raises(HistoryUnavailable, match="needs a data role"):
                await call
        await history.close()
        await pipeline.close()

    asyncio.run(test())


# Roles


def test_without_a_role_or_with_a_wrong_token_nothing_is_read_or_written(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        before = place.items()
        reader = place.control.new_service_principal("reader")["oid"]
        place.control.give_role(reader, READER, place.scope("conversations"))
        owner = place.control.new_service_principal("owner")["oid"]
        place.control.give_role(owner, "Owner", place.account)
        elsewhere = place.control.new_service_principal("elsewhere")["oid"]
        place.control.give_role(elsewhere, CONTRIBUTOR, place.scope("feedback"))
        refused = {
            "an owner has no data role": (place.credential(owner), "needs a data role"),
            "a role on another container": (place.credential(elsewhere), "needs a data role"),
            "another service's token": (place.credential(audience="https://vault.azure.net"), "token is not accepted"),
            "another account's": (
                place.credential(audience="https://cosmos-other.documents.azure.com"),
                "token is not accepted",
            ),
            "an old token": (place.credential(seconds=-60), "token is not accepted"),
        }
        for credential, why in refused.values():
            stranger = place.history(credential=credential)
            with pytest.raises(HistoryUnavailable, match=why):
                await stranger.read("ann", TALK)
            await stranger.close()
        read_only = place.history(credential=place.credential(reader))
        assert len((await read_only.read("ann", TALK))[1]) == 2
        with pytest.raises(HistoryUnavailable, match="needs a data role"):
            await read_only.begin("ann", TALK, question(2), answer(2))
        await read_only.close()
        assert place.items() == before
        await history.close()

    asyncio.run(test())


def test_a_missing_container_is_no_missing_conversation(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history(conversations="elsewhere")
        with pytest.raises(HistoryUnavailable, match=r"elsewhere: there is no such container"):
            await history.read("ann", TALK)
        await history.close()

    asyncio.run(test())


# Sizes and pages


@pytest.mark.parametrize("letter", ["x", "안", "\x00"])
def test_what_is_too_large_is_refused_in_a_sentence_before_anything_is_written(place: CosmosPlace, letter: str) -> None:
    async def test() -> None:
        history = place.history()
        huge = letter * 2_000_000
        with pytest.raises(Refused, match="the question has") as caught:
            await history.begin("ann", TALK, question(text=huge), answer())
        assert caught.value.code == "too_large"
        assert place.items() == []
        await history.begin("ann", TALK, question(), answer())
        with pytest.raises(Refused, match="the answer has"):
            await history.finish("ann", TALK, answered(text=huge))
        assert (await history.read("ann", TALK))[1][1].content == ""
        fits = letter * (900_000 // (6 if letter == "\x00" else len(letter.encode())))
        await history.finish("ann", TALK, answered(text=fits))
        assert (await history.read("ann", TALK))[1][1].content == fits
        await history.rate("ann", TALK, "answer-1", CONSENT)
        await history.begin("ann", TALK, question(2, fits, "answer-1"), answer(2))
        await history.rate("ann", TALK, "answer-2", CONSENT)
        both = {each.message.id: each async for each in history.rated()}
        assert both["answer-1"].message.content == fits
        assert [turn["content"] for turn in both["answer-2"].turns] == [fits], "the newest turns that fit"
        await history.close()

    asyncio.run(test())


def test_more_than_a_page_of_conversations_and_of_messages(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        for number in range(1, 61):
            await talk(history, "ann", TALK, f"message {number}", number)
        for number in range(2, 106):
            await talk(history, "ann", f"conversation-{number}", f"topic {number}")
        assert [m.content for m in (await history.read("ann", TALK))[1]][::2] == [f"message {n}" for n in range(1, 61)]
        for search in ("", "o"):
            seen: list[str] = []
            cursor = ""
            while True:
                page, cursor = await history.conversations("ann", cursor, search)
                seen += [each.id for each in page]
                if not cursor:
                    break
                assert cursor.replace("-", "").replace("_", "").rstrip("=").isalnum(), "fits in an address"
            assert len(seen) == len(set(seen)) == (105 if not search else 104)
        await history.close()

    asyncio.run(test())


@pytest.mark.parametrize("cursor", ["nonsense", "bm9uc2Vuc2U=", "WyJvdGhlciIsIFsieCIsICJ5Il1d"])
def test_a_cursor_of_nobodys_is_refused(place: CosmosPlace, cursor: str) -> None:
    async def test() -> None:
        history = place.history()
        await talk(history, "ann", TALK)
        with pytest.raises(Refused, match="cursor") as caught:
            await history.conversations("ann", cursor)
        assert caught.value.code == "invalid"
        await history.close()

    asyncio.run(test())


# Lifetimes


def test_a_conversation_without_a_new_message_vanishes_as_a_whole(place: CosmosPlace) -> None:
    async def test() -> None:
        moved = Moved(place, keep_days=7)
        await moved.talk()
        await moved.history.rate("ann", TALK, "answer-1", CONSENT)
        await moved.talk(1, "conversation-2")
        for day in range(2, 12):  # a message a day: nothing of the first day is lost
            moved.advance(1.5)
            await moved.talk(day, parent=f"answer-{day - 1}" if day > 2 else "answer-1")
        _, messages = await moved.history.read("ann", TALK)
        assert len(messages) == 22
        assert {item["conversation"] for item in place.items()} == {TALK}
        assert len(place.items("feedback")) == 1
        moved.advance(6.9)
        await moved.history.change("ann", TALK, title="no new message")
        await moved.history.rate("ann", TALK, "answer-1", replace(CONSENT, comment="nor this"))
        assert len((await moved.history.read("ann", TALK))[1]) == 22
        moved.advance(0.2)
        with pytest.raises(NotFound):
            await moved.history.read("ann", TALK)
        with pytest.raises(NotFound):
            await moved.history.rate("ann", TALK, "answer-1", CONSENT)
        assert await moved.history.conversations("ann") == ([], "")
        assert await moved.history.conversations("ann", search="hello") == ([], "")
        moved.advance(1)
        assert place.items() == []
        assert place.items("feedback") == []
        await moved.history.close()

    asyncio.run(test())


def test_an_expired_conversation_is_not_continued_and_its_rest_not_shown(place: CosmosPlace) -> None:
    async def test() -> None:
        moved = Moved(place, keep_days=7)
        await moved.talk()
        await moved.talk(2, parent="answer-1")
        moved.advance(7.1)
        assert {item["kind"] for item in place.items()} == {"message"}
        with pytest.raises(NotFound):
            await moved.talk(3, parent="answer-2")
        await moved.talk()  # the same ids
        assert [message.id for message in (await moved.history.read("ann", TALK))[1]] == ["question-1", "answer-1"]
        await moved.history.close()

    asyncio.run(test())


def test_without_a_setting_nothing_expires_and_a_changed_one_reaches_the_next_message(place: CosmosPlace) -> None:
    async def test() -> None:
        moved = Moved(place, keep_days=0)
        await moved.talk()
        moved.advance(10_000)
        assert len((await moved.history.read("ann", TALK))[1]) == 2
        assert await moved.history.sweep(7) == 0
        place.control.cosmos_advance(-10_000 * DAY)
        limited, forever = Moved(place, keep_days=7), Moved(place, keep_days=0)
        await limited.talk(2, parent="answer-1")
        assert all(item["ttl"] > 0 for item in place.items())
        await forever.talk(3, parent="answer-2")
        assert all(item.get("ttl", -1) == -1 for item in place.items())
        for each in (moved, limited, forever):
            await each.history.close()

    asyncio.run(test())


def test_a_days_use_is_forgotten_after_three(place: CosmosPlace) -> None:
    async def test() -> None:
        history = place.history()
        await asyncio.gather(*(history.spend("ann", "2026-11-29", requests=1, tokens=2) for _ in range(20)))
        assert await history.spend("ann", "2026-11-29", requests=0, tokens=0) == (20, 40)
        place.control.cosmos_advance(3 * DAY + 60)
        assert place.items() == []
        await history.close()

    asyncio.run(test())


# Many at once


def test_questions_at_once_in_one_conversation_are_all_stored_in_an_order(place: CosmosPlace) -> None:
    async def test() -> None:
        histories = [place.history() for _ in range(3)]
        await talk(histories[0], "ann", TALK)
        await asyncio.gather(
            *(
                histories[number % 3].begin("ann", TALK, question(number, parent="answer-1"), answer(number))
                for number in range(2, 8)
            )
        )
        messages = (await histories[0].read("ann", TALK))[1]
        assert {message.id for message in messages[::2]} == {f"question-{number}" for number in range(1, 8)}
        assert all(answer.parent == asked.id for asked, answer in zip(messages[::2], messages[1::2], strict=True))
        for history in histories:
            await history.close()

    asyncio.run(test())


@pytest.mark.long
def test_two_hundred_people_lose_and_cross_nothing(place: CosmosPlace) -> None:
    async def test() -> None:
        gate = asyncio.Semaphore(8)
        history = place.history()

        async def one(user: str, conversation: str) -> None:
            async with gate:
                await talk(history, user, conversation, f"{user} {conversation}")

        place.control.fail_randomly(0.02, seed=1, kinds=("429", "dropped"), services=("cosmos",))
        async with asyncio.TaskGroup() as group:
            for user in range(200):
                for conversation in range(20):
                    group.create_task(one(f"user-{user}", f"conversation-{conversation}"))
        place.control.clear_faults()
        for user in range(200):
            page, cursor = await history.conversations(f"user-{user}")
            assert (len(page), cursor) == (20, "")
            for header in page:
                messages = (await history.read(f"user-{user}", header.id))[1]
                words = f"user-{user} {header.id}"
                assert [message.content for message in messages] == [words, f"re: {words}"]
        await history.close()

    asyncio.run(test())
