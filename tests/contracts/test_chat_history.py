"""What every store of the chat's history must do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from chat_code.conversations import Feedback, Message, Served, Usage, branch, now
from chat_code.errors import Changed, Conflict, NotFound
from chat_code.history import PAGE, History
from chat_code.history_sqlite import SqliteHistory
from tests.support.cosmos_place import CosmosPlace, cosmos_at

Open = Callable[[], "Opened"]
TALK = "conversation-1"


class Opened:
    """Opens a store for a test, as often as it likes: what one has written, another reads."""

    def __init__(self, make: Callable[[], History]) -> None:
        self._make = make

    @asynccontextmanager
    async def history(self) -> AsyncIterator[History]:
        history = self._make()
        try:
            yield history
        finally:
            await history.close()


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CosmosPlace]:
    with cosmos_at(tmp_path_factory.mktemp("azure")) as place:
        yield place


@pytest.fixture(params=["sqlite", pytest.param("cosmos", marks=pytest.mark.azure)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    if request.param == "sqlite":
        return Opened(lambda: SqliteHistory(tmp_path / "chat.sqlite"))
    place: CosmosPlace = request.getfixturevalue("cosmos")
    place.control.cosmos_empty()
    return Opened(place.history)


def question(number: int = 1, text: str = "hello", parent: str | None = None) -> Message:
    return Message(f"question-{number}", parent, "user", text, "done", now())


def answer(number: int = 1, to: int | None = None) -> Message:
    to = number if to is None else to
    return Message(f"answer-{number}", f"question-{to}", "assistant", "", "running", now(), model="tuned")


async def talk(history: History, user: str, conversation: str, text: str = "hello", number: int = 1) -> None:
    parent = f"answer-{number - 1}" if number > 1 else None
    await history.begin(user, conversation, question(number, text, parent), answer(number))
    done = replace(answer(number), content=f"re: {text}", state="done", served=Served("id", "blue"), usage=Usage(1, 2))
    await history.finish(user, conversation, done)


def test_what_was_stored_is_read_by_another(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK, "How long is the guarantee?")
            await talk(history, "ann", TALK, "안녕 \x00 \u202e", 2)
        async with store.history() as history:
            header, messages = await history.read("ann", TALK)
        assert (header.title, header.head) == ("How long is the guarantee?", "answer-2")
        assert [message.content for message in branch(messages, header.head)] == [
            "How long is the guarantee?",
            "re: How long is the guarantee?",
            "안녕 \x00 \u202e",
            "re: 안녕 \x00 \u202e",
        ]
        assert messages[1].served == Served("id", "blue")
        assert messages[1].usage == Usage(1, 2)

    asyncio.run(test())


def test_a_repeated_request_stores_nothing_twice(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK)
            header, asked, answered = await history.begin("ann", TALK, question(), answer())
            assert (asked.content, answered.state, answered.content) == ("hello", "done", "re: hello")
            assert len((await history.read("ann", TALK))[1]) == 2
            assert header.head == "answer-1"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("asked", "answered", "error"),
    [
        (question(1, "other"), answer(1), Conflict),
        (question(1, parent="answer-1"), answer(2, to=1), Conflict),
        (question(2), replace(answer(1), parent="question-2"), Conflict),
        (question(2), replace(answer(2), id="question-1"), Conflict),
        (question(2, parent="no-such-parent"), answer(2), NotFound),
    ],
)
def test_a_request_that_does_not_fit_changes_nothing(
    store: Opened, asked: Message, answered: Message, error: type[Exception]
) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK)
            before = await history.read("ann", TALK)
            with pytest.raises(error):
                await history.begin("ann", TALK, asked, answered)
            assert await history.read("ann", TALK) == before

    asyncio.run(test())


def test_a_refused_first_question_makes_no_conversation(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            with pytest.raises(NotFound):
                await history.begin("ann", TALK, question(parent="no-such-parent"), answer())
            assert await history.conversations("ann") == ([], "")

    asyncio.run(test())


def test_a_failed_answer_is_begun_anew_and_a_part_is_not(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await history.begin("ann", TALK, question(), answer())
            await history.finish("ann", TALK, replace(answer(), state="failed", why="no"))
            _, _, again = await history.begin("ann", TALK, question(), answer())
            assert (again.state, again.why) == ("running", "")
            await history.finish("ann", TALK, replace(answer(), state="cut", content="part"))
            _, _, again = await history.begin("ann", TALK, question(), answer())
            assert (again.state, again.content) == ("cut", "part")

    asyncio.run(test())


def test_an_answer_is_rated_while_another_is_generated(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK)
            await history.begin("ann", TALK, question(), answer(2, to=1))
            rated = await history.rate("ann", TALK, "answer-1", Feedback("down", "why", "right", True, now()))
            assert rated.content == "re: hello"
            await history.rate("ann", TALK, "answer-2", Feedback("up"))
            await history.finish("ann", TALK, replace(answer(2, to=1), state="done", content="x"))
            _, messages = await history.read("ann", TALK)
            assert [message.feedback and message.feedback.value for message in messages] == [None, "down", "up"]
            await history.rate("ann", TALK, "answer-1", None)
            assert (await history.read("ann", TALK))[1][1].feedback is None
            for wrong in ("question-1", "answer-9"):
                with pytest.raises(NotFound):
                    await history.rate("ann", TALK, wrong, Feedback("up"))

    asyncio.run(test())


def test_only_consented_ratings_are_used(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            for user, consent in (("ann", True), ("bob", False)):
                await talk(history, user, TALK, f"first of {user}")
                await talk(history, user, TALK, f"second of {user}", 2)
                await history.rate(user, TALK, "answer-2", Feedback("down", "", "right", consent, now()))
            [found] = [each async for each in history.rated()]
            assert (found.user, found.message.id, found.message.feedback and found.message.feedback.correction) == (
                "ann",
                "answer-2",
                "right",
            )
            assert [turn["content"] for turn in found.turns] == [
                "first of ann",
                "re: first of ann",
                "second of ann",
            ]

    asyncio.run(test())


def test_pages_are_newest_first_and_miss_nothing(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            count = PAGE * 2 + 3
            for number in range(count):
                await talk(history, "ann", f"conversation-{number}", f"Frage {number}")
            seen: list[str] = []
            cursor = ""
            while True:
                page, cursor = await history.conversations("ann", cursor)
                seen += [each.id for each in page]
                if not cursor:
                    break
                assert len(page) == PAGE
            assert seen == [f"conversation-{number}" for number in reversed(range(count))]

    asyncio.run(test())


@pytest.mark.parametrize(("search", "found"), [("GERÄT", True), ("re: über", True), ("100%", True), ("1_0", False)])
def test_searching_finds_titles_and_texts_in_any_case(store: Opened, search: str, found: bool) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK, "Über 100% Gerät")
            await talk(history, "ann", "conversation-2", "something else")
            page, _ = await history.conversations("ann", search=search)
            assert [each.id for each in page] == ([TALK] if found else [])

    asyncio.run(test())


def test_changes_are_refused_when_another_was_quicker(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK)
            before, _ = await history.read("ann", TALK)
            renamed = await history.change("ann", TALK, title="mine", etag=before.etag)
            assert (renamed.title, renamed.head) == ("mine", "answer-1")
            with pytest.raises(Changed):
                await history.change("ann", TALK, title="late", etag=before.etag)
            assert (await history.change("ann", TALK, head="question-1", etag=renamed.etag)).head == "question-1"
            with pytest.raises(NotFound):
                await history.change("ann", TALK, head="answer-9")
            await talk(history, "ann", TALK, "later", 2)
            assert (await history.read("ann", TALK))[0].title == "mine"

    asyncio.run(test())


def test_what_is_deleted_is_gone_and_nothing_else_is(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            for user in ("ann", "bob"):
                for conversation in (TALK, "conversation-2"):
                    await talk(history, user, conversation)
            await history.delete("ann", TALK)
            with pytest.raises(NotFound):
                await history.read("ann", TALK)
            with pytest.raises(NotFound):
                await history.delete("ann", TALK)
            with pytest.raises(NotFound):  # an answer that ends after its conversation was deleted
                await history.finish("ann", TALK, replace(answer(), state="done"))
            assert await history.delete_all("ann") == 1
            assert await history.conversations("ann") == ([], "")
            assert len((await history.conversations("bob"))[0]) == 2

    asyncio.run(test())


def test_a_persons_conversations_are_nobody_elses(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            await talk(history, "ann", TALK, "secret")
            for call in (
                history.read("bob", TALK),
                history.delete("bob", TALK),
                history.change("bob", TALK, title="x"),
                history.rate("bob", TALK, "answer-1", Feedback("up")),
                history.finish("bob", TALK, answer()),
            ):
                with pytest.raises(NotFound):
                    await call
            assert await history.conversations("bob", search="secret") == ([], "")
            assert await history.delete_all("bob") == 0
            assert len((await history.read("ann", TALK))[1]) == 2

    asyncio.run(test())


def test_a_days_use_adds_up(store: Opened) -> None:
    async def test() -> None:
        async with store.history() as history:
            assert await history.spend("ann", "2026-11-29", requests=1, tokens=10) == (1, 10)
            assert await history.spend("ann", "2026-11-29", requests=1, tokens=5) == (2, 15)
            assert await history.spend("ann", "2026-11-30", requests=1, tokens=1) == (1, 1)
            assert await history.spend("bob", "2026-11-29", requests=0, tokens=1) == (0, 1)

    asyncio.run(test())


def test_many_at_once_lose_and_cross_nothing(store: Opened) -> None:
    async def test() -> None:
        gate = asyncio.Semaphore(8)

        async def one(history: History, user: str, conversation: str) -> None:
            async with gate:
                await talk(history, user, conversation, f"{user} {conversation} one")
                await talk(history, user, conversation, f"{user} {conversation} two", 2)

        async with store.history() as history:
            async with asyncio.TaskGroup() as group:
                for user in range(10):
                    for conversation in range(4):
                        group.create_task(one(history, f"user-{user}", f"conversation-{conversation}"))
            for user in range(10):
                page, _ = await history.conversations(f"user-{user}")
                assert len(page) == 4
                for header in page:
                    messages = (await history.read(f"user-{user}", header.id))[1]
                    assert len(messages) == 4
                    assert all(f"user-{user} {header.id} " in message.content for message in messages)

    asyncio.run(test())
