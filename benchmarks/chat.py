"""The chat's server under many people: is anything lost or crossed, and how long do its list and its pages take?

`python -m benchmarks.chat [--people 200] [--conversations 20] [--at-once 8]`: each person begins conversations with an
endpoint that repeats the question, and then lists and reads them, all over HTTP against one server on SQLite. Times
are those that the server reports (`Server-Timing`), as the clients share its processor.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import httpx

from tests.support.chat_server import ByHeader, ChatServer, ask, chat_server, streaming_endpoint, text_of

MOST_P95_MS = 50.0
T = TypeVar("T")


def main() -> int:
    """Print what was kept, and the times; return 1 when something was lost, crossed or slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=8)
    options = parser.parse_args()
    people = [f"person{number:04d}" for number in range(options.people)]
    talks = [f"conversation-{number:03d}" for number in range(options.conversations)]
    with (
        tempfile.TemporaryDirectory() as folder,
        streaming_endpoint() as endpoint,
        chat_server(Path(folder) / "history.sqlite", {"tuned": endpoint.address}, who=ByHeader()) as server,
    ):
        began = time.monotonic()
        wrong = sum(_all(server, options.at_once, people, lambda client, person: _ask(client, person, talks)))
        seconds = time.monotonic() - began
        print(f"asked: {len(people) * len(talks)} questions by {len(people)} people in {seconds:.0f} s")
        timings: list[tuple[list[float], list[float], int]] = _all(
            server, options.at_once, people, lambda client, person: _read(client, person, talks)
        )
    lists, reads = ([ms for each in timings for ms in each[place]] for place in (0, 1))  # pyright: ignore
    lost = sum(each[2] for each in timings)
    print(f"lost or crossed: {lost} of {len(people) * len(talks)}; answers that were not right: {wrong}")
    slow = False
    for name, found in (("list", lists), ("read", reads)):
        p95 = statistics.quantiles(found, n=20)[-1]
        slow = slow or p95 > MOST_P95_MS
        print(
            f"{name}: median {statistics.median(found):.1f} ms, p95 {p95:.1f} ms in the server, {len(found)} requests"
        )
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return int(bool(lost or wrong or slow))


def _all(
    server: ChatServer, at_once: int, people: Iterable[str], of_person: Callable[[httpx.Client, str], T]
) -> list[T]:
    """Return what `of_person` returns for each, `at_once` of them at a time."""
    lock = threading.Lock()

    def one(person: str) -> T:
        with lock:
            client = server.client(person=person)
        return of_person(client, person)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, people))


def _ask(client: httpx.Client, person: str, talks: list[str]) -> int:
    """Ask once in each conversation; return how many answers were not the right ones."""
    return sum(text_of(ask(client, talk, f"{person} {talk}")) != f"You said: {person} {talk}" for talk in talks)


def _read(client: httpx.Client, person: str, talks: list[str]) -> tuple[list[float], list[float], int]:
    """Return the milliseconds of the list and of each conversation, and how many are lost or another's."""
    listed = client.get("/api/conversations")
    lost = set(talks) ^ {each["id"] for each in listed.json()["conversations"]}
    reads: list[float] = []
    wrong = len(lost)
    for talk in talks:
        answer = client.get(f"/api/conversations/{talk}")
        reads.append(_milliseconds(answer))
        said = [message["content"] for message in answer.json().get("messages", [])]
        wrong += said != [f"{person} {talk}", f"You said: {person} {talk}"]
    return [_milliseconds(listed)], reads, wrong


def _milliseconds(answer: httpx.Response) -> float:
    return float(answer.headers["server-timing"].partition("dur=")[2])


if __name__ == "__main__":
    raise SystemExit(main())
