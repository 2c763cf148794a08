"""The laptop's feedback: ratings in the chat's history, reviews in MLflow, approved rows in a folder."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from chat_code.errors import HistoryUnavailable
from chat_code.history import Rated
from phi_assets.backends import content_store
from phi_assets.backends.dataset_preparation import FEEDBACK
from phi_assets.backends.local.chat.review_page import ReviewPage
from phi_assets.backends.review_queue import ReviewQueue
from phi_assets.conversations.feedback.rated_answers import (
    LEFT_OUT,
    Candidate,
    candidate_from,
    candidates,
    fingerprint,
    questions_of,
)
from phi_assets.conversations.feedback.reviewed_rows import json_lines, within_limits
from phi_assets.databases import CHAT_HISTORY, COPIES
from phi_assets.errors import BackendError
from phi_assets.files import atomic_write, private_folder, read_json
from phi_assets.ports.base import Decides, Log, no_log
from phi_assets.ports.chat import FeedbackStore, Forgotten
from phi_assets.records import FeedbackCandidates, FeedbackConversations, ModelVersion, Record
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
        return fingerprint(self._rated())

    def collect(self, log: Log) -> FeedbackCandidates:
        found, left_out = candidates(self._rated(), self._masked(), self._questions())
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
        current = {each.digest for each in candidates(self._rated(), self._masked(), self._questions())[0]}
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

    def forget(self, conversation: str | None, log: Log) -> Forgotten:
        said = asyncio.run(self._said_in(conversation))
        if not said:
            raise BackendError(
                "there are no conversations in the chat's history"
                if conversation is None
                else f"there is no conversation {conversation!r}; the address of its page ends with its id"
            )
        proposed = [each for each in self._rated() if (each.user, each.conversation) in said]
        pairs = [
            (each.question, answer)
            for each in candidates(proposed, self._masked(), [])[0]
            for answer in (each.proposed, each.given)
        ]
        asyncio.run(self._delete(list(said)))
        self.collect(log)
        self.publish(None if conversation is None else self._dataset_rows(), log)
        texts = [text for spoken in said.values() for text in spoken]
        versions = {digest for digest, folder in self._dataset_versions() if _has_row(folder, pairs)}
        return Forgotten(
            conversations=len(said),
            datasets=tuple(sorted(versions)),
            models=tuple(sorted(digest for digest, dataset in self._models() if dataset in versions)),
            copies=tuple(sorted(str(file) for file in self._copies() if _holds(file, texts))),
        )

    async def _said_in(self, conversation: str | None) -> dict[tuple[str, str], list[str]]:
        """Return what was said in the conversations, and what ratings say."""
        found: dict[tuple[str, str], list[str]] = {}
        async with self._history() as history:
            for user, each in await history.everything(conversation):
                _, messages = await history.read(user, each)
                spoken = [message.content for message in messages]
                spoken += [message.feedback.correction for message in messages if message.feedback]
                found[user, each] = [text for text in spoken if len(text) >= SHORTEST_TEXT]
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

    def _dataset_versions(self) -> Iterator[tuple[str, Path]]:
        for file in (Path(self.state) / "datasets").glob("*/manifest.json"):
            yield str(read_json(file, "`phi clean` removes it").get("digest", file.parent.name)), file.parent

    def _dataset_rows(self) -> int | None:
        """Return the rows of the newest dataset version; None before the first."""
        counted = [
            (file.stat().st_mtime, sum(_rows_in(read_json(file, "`phi clean` removes it"))))
            for file in (Path(self.state) / "datasets").glob("*/manifest.json")
        ]
        return max(counted)[1] if counted else None

    def _models(self) -> Iterator[tuple[str, str]]:
        for file in (Path(self.state) / "models").glob("*/record.json"):
            model = Record.load(file)
            if isinstance(model, ModelVersion):
                yield model.digest, model.dataset_digest

    def _copies(self) -> Iterator[Path]:
        return (file for file in (Path(self.state) / COPIES).rglob("*") if file.is_file())

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


def _holds(file: Path, texts: Sequence[str]) -> bool:
    """Return whether a database's copy holds one of the texts."""
    content = file.read_bytes()
    return any(text.encode() in content for text in texts)


def _has_row(version: Path, pairs: Sequence[tuple[str, str]]) -> bool:
    """Return whether a dataset version has a row with one of the questions and its answer."""
    written = [tuple(json.dumps(text, ensure_ascii=False).encode() for text in pair) for pair in pairs]
    for file in version.glob("*.jsonl"):
        with file.open("rb") as lines:
            if any(question in line and answer in line for line in lines for question, answer in written):
                return True
    return False


def _rows_in(manifest: Mapping[str, Any]) -> Iterator[int]:
    return (manifest["files"][f"{split}.jsonl"]["rows"] for split in ("train", "validation", "test"))


def _digest_of(finished: "Finished") -> str:
    decided = sorted(json.dumps(asdict(each.review), sort_keys=True) for each in finished.approved)
    text = "\n".join([*decided, f"{finished.rejected} rejected"]) if decided or finished.rejected else ""
    return hashlib.sha256(text.encode()).hexdigest()
