"""The laptop's feedback: ratings in the chat's history, reviews in MLflow, approved rows in a folder."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from chat_code.errors import HistoryUnavailable
from chat_code.history import Rated
from phi_assets.backends import content_store
from phi_assets.backends.dataset_preparation import FEEDBACK
from phi_assets.backends.local.chat import still_held
from phi_assets.backends.local.chat.review_page import ReviewPage
from phi_assets.backends.review_queue import ReviewQueue
from phi_assets.conversations.feedback import tombstones
from phi_assets.conversations.feedback.rated_answers import (
    LEFT_OUT,
    Candidate,
    candidate_from,
    candidate_id,
    candidates,
    fingerprint,
    questions_of,
)
from phi_assets.conversations.feedback.reviewed_rows import json_lines, within_limits
from phi_assets.databases import CHAT_HISTORY
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write, private_folder
from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import FeedbackStore, Forgotten
from phi_assets.records import FeedbackCandidates, FeedbackConversations, Record
from phi_assets.sqlite_cache import SqliteCache

if TYPE_CHECKING:
    from chat_code.history_sqlite import SqliteHistory
    from phi_assets.backends.review_queue import Finished

SHORTEST_TEXT = 4
"""Characters below which a text says nothing about where it is found."""
NOTHING = hashlib.sha256(b"").hexdigest()
CANDIDATES, ROWS = "candidates.jsonl", "conversations.jsonl"


class LocalFeedbackStore(FeedbackStore):
    """Keeps everything in the home. The queue is made with the first candidate: before, nothing imports MLflow."""

    decides: ClassVar = {
        "feedback_candidates": Decides(modules=("review_queue",)),
        "feedback_conversations": Decides(modules=("review_queue",)),
    }
    state: str
    questions_file: str | None
    regions: list[str]
    names_model: str
    personal_data: str
    share: float
    person_share: float
    page_port: int

    def rated(self) -> str:
        return fingerprint(self._standing())

    def collect(self, log: Log) -> FeedbackCandidates:
        rated = self._standing()
        found, left_out = candidates(rated, self._masked(), self._questions())
        self._bury({candidate_id(each) for each in rated}, found, log)
        for reason, count in sorted(left_out.items()):
            log(f"left out: {count} ({LEFT_OUT[reason]})")
        if found or self._has_queue:
            new, gone = self._queue.synchronise(found)
            atomic_write(self._marker, "the review queue exists\n")
            log(f"{len(found)} candidates: {new} new in the review queue, {gone} removed; `phi review` opens it")
        text = "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in found)
        digest = hashlib.sha256(f"candidates\n{text}".encode()).hexdigest()
        record = FeedbackCandidates(
            digest=digest,
            rows=len(found),
            corrections=sum(each.correction for each in found),
            left_out=dict(sorted(left_out.items())),
        )
        self._keep(record, CANDIDATES, text)
        return record

    def candidates(self, record: FeedbackCandidates) -> list[Candidate]:
        text = (content_store.place(self._records, record.digest) / CANDIDATES).read_text(encoding="utf-8")
        return [candidate_from(json.loads(line)) for line in text.splitlines()]

    def reviewed(self) -> str:
        if not self._has_queue:
            return NOTHING
        cache = SqliteCache(self.folder / "reviewed.json", (self._queue.database,))
        found, state = cache.get(), cache.state()
        if found is None:
            found = _digest_of(self._queue.finished())
            cache.put(found, state)
        return str(found)

    def publish(self, dataset_rows: int | None, log: Log) -> FeedbackConversations:
        finished = self._queue.finished() if self._has_queue else None
        current = {each.digest for each in candidates(self._standing(), self._masked(), self._questions())[0]}
        approved = [each for each in finished.approved if each.candidate.digest in current] if finished else []
        others = None if dataset_rows is None else max(dataset_rows - self._published(), 0)
        most = None if others is None else int(self.share / (1 - self.share) * others)
        # On a laptop there is one person: no share of one person.
        several = len({each.candidate.person for each in approved}) > 1
        kept, left_out = within_limits(approved, most, self.person_share if several else 1.0)
        text = json_lines(kept)
        digest = hashlib.sha256(f"conversations\n{text}".encode()).hexdigest()
        target = self.approved / f"{digest[:16]}.jsonl"
        private_folder(self.approved)
        if text:
            atomic_write(target, text)
        for file in self.approved.glob("*.jsonl"):
            if file != target or not text:
                file.unlink()
        log(f"{len(kept)} approved answers are data now: {target}" if kept else "no answer is approved yet")
        for reason, count in sorted(left_out.items()):
            log(f"left out: {count} above the largest {reason}")
        record = FeedbackConversations(
            digest=digest,
            address=str(target) if text else "",
            rows=len(kept),
            rejected=finished.rejected if finished else 0,
            pending=finished.pending if finished else 0,
            left_out=dict(sorted(left_out.items())),
        )
        self._keep(record, ROWS, json.dumps([asdict(each.review) for each in kept]))
        return record

    def review_page(self, log: Log = no_log) -> str:
        if not self._has_queue:
            raise BackendError("nothing waits for a review: no answer of the chat was rated yet, with consent")
        return self._queue.address_of_page(self._page.start(log))

    def stop(self, log: Log = no_log) -> None:
        self._page.stop(log)

    def forget(self, conversation: str | None, user: str | None, log: Log) -> Forgotten:
        said = asyncio.run(self._said_in(conversation, user))
        if not said:
            raise BackendError(_nothing(conversation, user))
        held = self._forget_ratings(said, log)
        asyncio.run(self._delete(list(said)))
        self._make_again(log)
        texts = [text for spoken in said.values() for text in spoken]
        return Forgotten(len(said), *held, copies=still_held.copies(Path(self.state), texts))

    def _forget_ratings(self, keys: Collection[tuple[str, str]], log: Log) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Keep what was rated in these conversations out of later data; return the datasets and models that hold it."""
        log(f"conversations that the model will not learn from: {len(keys)}")
        known = tombstones.read(self.folder)
        gone = {tombstones.conversation_hash(*key) for key in keys}
        tombstones.write(self.folder, replace(known, conversations=known.conversations | gone))
        proposed = candidates(
            [each for each in self._rated() if (each.user, each.conversation) in keys], self._masked(), []
        )
        answers = self._answers()
        pairs = [
            (each.question, answer)
            for each in proposed[0]
            for answer in {each.proposed, each.given, answers.get(each.id, each.proposed)}
        ]
        datasets = still_held.dataset_versions(Path(self.state), pairs)
        return datasets, still_held.models(Path(self.state), datasets)

    def _make_again(self, log: Log) -> None:
        """Make candidates and rows again, without what was forgotten."""
        self.collect(log)
        self.publish(still_held.newest_rows(Path(self.state)) if self._standing() else None, log)

    def _bury(self, rated: set[str], standing: list[Candidate], log: Log) -> None:
        """Keep what is no longer rated out of later datasets: as hashes, and not where others say the same."""
        gone = [each for each in self._collected() if each.id not in rated]
        known, answers = tombstones.read(self.folder), self._answers()
        lost = _pairs_of(gone)
        lost |= {tombstones.pair_hash(each.question, answers[each.id]) for each in gone if each.id in answers}
        if lost:
            lost -= lost.intersection(still_held.in_rows_of_others(Path(self.state)))
            log(f"answers that were taken back: {len(gone)}; later datasets are without them")
        # What a person proposes now may be learned, whoever took it back before.
        pairs = (known.pairs | lost) - _pairs_of(standing)
        tombstones.write(self.folder, replace(known, pairs=frozenset(pairs)))

    def _collected(self) -> list[Candidate]:
        """Return the candidates of the collection before."""
        lines = (
            line for file in self._records.glob(f"*/{CANDIDATES}") for line in file.read_text("utf-8").splitlines()
        )
        return [candidate_from(json.loads(line)) for line in lines]

    def _answers(self) -> dict[str, str]:
        """Return the answer that a reviewer approved, by candidate."""
        reviews = (each for file in self._records.glob(f"*/{ROWS}") for each in json.loads(file.read_text("utf-8")))
        return {each["candidate"]: each["answer"] for each in reviews}

    async def _said_in(self, conversation: str | None, user: str | None) -> dict[tuple[str, str], list[str]]:
        """Return what was said in the conversations, and what ratings say."""
        found: dict[tuple[str, str], list[str]] = {}
        async with self._history() as history:
            for person, each in await history.everything(conversation):
                if user not in (None, person):
                    continue
                _, messages = await history.read(person, each)
                spoken = [message.content for message in messages]
                spoken += [message.feedback.correction for message in messages if message.feedback]
                found[person, each] = [text for text in spoken if len(text) >= SHORTEST_TEXT]
        return found

    async def _delete(self, keys: list[tuple[str, str]]) -> None:
        async with self._history() as history:
            for user, conversation in keys:
                await history.delete(user, conversation)

    @asynccontextmanager
    async def _history(self) -> AsyncIterator["SqliteHistory"]:
        from chat_code.history_sqlite import SqliteHistory

        history = SqliteHistory(Path(self.state) / CHAT_HISTORY)
        try:
            yield history
        except HistoryUnavailable as e:
            raise BackendError(e.message) from e
        finally:
            await history.close()

    def find(self, digest: str) -> Record | None:
        def complete(folder: Path) -> bool:
            return (folder / CANDIDATES).is_file() or (folder / ROWS).is_file()

        record = content_store.find(self._records, digest, complete)
        if isinstance(record, FeedbackConversations) and record.address and not Path(record.address).is_file():
            return None
        return record

    @property
    def folder(self) -> Path:
        """The folder of candidates, records, and approved rows."""
        return Path(self.state) / FEEDBACK.parent

    @property
    def approved(self) -> Path:
        """The folder that `raw_conversations` reads."""
        return Path(self.state) / FEEDBACK

    @property
    def _page(self) -> ReviewPage:
        return ReviewPage(self.folder, self._queue.database, self.page_port)

    @property
    def _records(self) -> Path:
        return self.folder / "records"

    @property
    def _marker(self) -> Path:
        return self.folder / "queue"

    @property
    def _has_queue(self) -> bool:
        return self._marker.is_file()

    @property
    def _queue(self) -> ReviewQueue:
        return ReviewQueue(Path(self.state) / "mlflow" / "mlflow.db")

    def _published(self) -> int:
        """Return the number of rows in the approved file now."""
        texts = (file.read_text(encoding="utf-8") for file in self.approved.glob("*.jsonl"))
        return sum(line.startswith('{"messages"') for text in texts for line in text.split("\n"))

    def _rated(self) -> list[Rated]:
        """Return the consented ratings. Raises BackendError where the history cannot be read."""
        if not (Path(self.state) / CHAT_HISTORY).is_file():
            return []

        async def read() -> list[Rated]:
            async with self._history() as history:
                return [each async for each in history.rated()]

        return asyncio.run(read())

    def _standing(self) -> list[Rated]:
        """Return the consented ratings of conversations that nobody forgot; a history put back may hold others."""
        gone = tombstones.read(self.folder).conversations
        if not gone:
            return self._rated()
        return [
            each for each in self._rated() if tombstones.conversation_hash(each.user, each.conversation) not in gone
        ]

    def _questions(self) -> list[str]:
        try:
            return questions_of(Path(self.questions_file) if self.questions_file else None)
        except (OSError, ValueError, LookupError, TypeError) as e:
            raise BackendError(f"{self.questions_file}: the evaluation questions cannot be read ({e})") from e

    def _masked(self) -> Callable[[str], str]:
        if self.personal_data == "keep":
            return str
        from phi_assets.conversations.personal_data import mask

        return lambda text: mask(text, tuple(self.regions), self.names_model).text

    def _keep(self, record: Record, name: str, text: str) -> None:
        """Store the record with its text, and delete the ones before it: they may hold words that were withdrawn."""
        folder = private_folder(content_store.place(self._records, record.digest))
        atomic_write(folder / name, text)
        content_store.put(record, folder)
        for other in self._records.iterdir():
            if other != folder and (other / name).is_file():
                shutil.rmtree(other)


def _pairs_of(proposed: list[Candidate]) -> set[str]:
    """Return the hashes of what was proposed, and of what the model had answered instead."""
    return {tombstones.pair_hash(each.question, answer) for each in proposed for answer in (each.proposed, each.given)}


def _nothing(conversation: str | None, user: str | None) -> str:
    """Return the message where nothing is to forget."""
    if conversation is not None:
        return f"there is no conversation {conversation!r}; the address of its page ends with its id"
    return "there are no conversations in the chat's history" + (f" of {user!r}" if user is not None else "")


def _digest_of(finished: "Finished") -> str:
    decided = sorted(json.dumps(asdict(each.review), sort_keys=True) for each in finished.approved)
    text = "\n".join([*decided, f"{finished.rejected} rejected"]) if decided or finished.rejected else ""
    return hashlib.sha256(text.encode()).hexdigest()
