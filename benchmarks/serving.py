"""The server under load: speed and first tokens of 1, 8 and 32 clients, and what a long prompt does to others.

python -m benchmarks.serving [--model DIR] [--against COMMIT] [--turns 3]

Starts this checkout's server, and with --against that commit's beside it. Each turn asks both, one after the other, so
that whatever else the machine does meets both; the medians of all turns are printed, and the median of their ratios.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from phi_assets.project import PROJECT

WORDS = "The pump stops when the lamp is red, and the button is pressed for five seconds until it turns green. "
NEW_TOKENS, LONG_TOKENS, FIRST_TURN_TOKENS = 32, 7_000, 2_000
CHARACTERS_A_TOKEN = 4.4  # of WORDS with SmolLM2's tokenizer


class Server:
    """A server process and its address."""

    def __init__(self, tree: Path, model: Path, name: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self.name = name
            command = [sys.executable, "-m", "serving_code", "--model", str(model)]
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            self.process = subprocess.Popen(
                [*command, "--listen-fd", str(listener.fileno()), "--default-temperature", "0"],
                cwd=tree,
                env=environment,
                pass_fds=[listener.fileno()],
                stderr=subprocess.DEVNULL,
            )
        while httpx.get(f"{self.url}/readyz", trust_env=False, timeout=60).status_code != 200:
            if self.process.poll() is not None:
                raise SystemExit(f"the server of {name} ended with {self.process.returncode}")
            time.sleep(0.5)

    async def ask(self, messages: list[dict], tokens: int) -> tuple[list[float], str]:
        """When each piece of text came, in seconds after the question, and the text."""
        body = {"messages": messages, "max_tokens": tokens, "stream": True, "temperature": 0}
        began, times, text = time.perf_counter(), [], ""
        async with (
            httpx.AsyncClient(trust_env=False, timeout=600) as client,
            client.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer,
        ):
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    piece = json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")
                    if piece:
                        times.append(time.perf_counter() - began)
                        text += piece
        return times or [time.perf_counter() - began], text


def question(tokens: int, seed: int) -> list[dict]:
    """A question of about so many tokens; each seed's begins differently, so that no prefix is known."""
    text = f"{seed}: " + WORDS * (1 + int(tokens * CHARACTERS_A_TOKEN) // len(WORDS))
    return [{"role": "user", "content": text[: int(tokens * CHARACTERS_A_TOKEN)]}]


async def clients(server: Server, count: int, seed: int) -> dict[str, float]:
    """So many ask at once: pieces of text a second of all together, and the median and the last first token."""
    began = time.perf_counter()
    answers = await asyncio.gather(
        *(server.ask(question(100, seed * 1000 + each), NEW_TOKENS) for each in range(count))
    )
    seconds = time.perf_counter() - began
    first = [times[0] for times, _ in answers]
    return {
        f"{count} clients, pieces a second": sum(len(times) for times, _ in answers) / seconds,
        f"{count} clients, first token, median s": statistics.median(first),
        f"{count} clients, first token, last s": max(first),
    }


async def stall(server: Server, seed: int) -> dict[str, float]:
    """A long prompt alone, then one while four others ask on and on: their longest wait, and its first token."""
    [alone, *_], _ = await server.ask(question(LONG_TOKENS, seed * 1000 + 500), 1)
    answered = asyncio.Event()
    others = [asyncio.create_task(talk(server, seed * 1000 + 600 + 100 * each, answered)) for each in range(4)]
    await asyncio.sleep(3)
    [together, *_], _ = await server.ask(question(LONG_TOKENS, seed * 1000 + 550), 1)
    answered.set()
    return {
        "7,000 tokens alone, first token s": alone,
        "7,000 tokens beside four, first token s": together,
        "beside 7,000 tokens, longest wait s": max(await asyncio.gather(*others)),
    }


async def talk(server: Server, seed: int, stop: asyncio.Event) -> float:
    """Ask one question after the other; the longest wait between two pieces of an answer, in seconds."""
    longest = 0.0
    while not stop.is_set():
        times, _ = await server.ask(question(100, seed), 400)
        seed += 1
        longest = max([longest, *(later - sooner for sooner, later in itertools.pairwise(times))])
    return longest


async def second_turn(server: Server, seed: int) -> dict[str, float]:
    """A conversation that begins with a long question: the first token of both turns."""
    messages = question(FIRST_TURN_TOKENS, seed * 1000 + 800)
    [first, *_], text = await server.ask(messages, NEW_TOKENS)
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "And the lamp?"}]
    [second, *_], _ = await server.ask(messages, NEW_TOKENS)
    return {"first turn of 2,000 tokens s": first, "second turn s": second}


async def turn(server: Server, seed: int) -> dict[str, float]:
    """Everything once."""
    found: dict[str, float] = {}
    for count in (1, 8, 32):
        found |= await clients(server, count, seed * 10 + count)
    return found | await stall(server, seed) | await second_turn(server, seed)


@contextlib.contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A worktree of the commit, removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", tree, commit], cwd=PROJECT, check=True)
        try:
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=PROJECT, check=True)


def main() -> None:
    """Print a table: medians of each server, and the median of the ratios turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a model folder; none: the base model of `make run`")
    parser.add_argument("--against", help="a commit, whose server is measured too")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    model = options.model
    if model is None:
        from benchmarks.made import folders

        model, _ = folders()
    with contextlib.ExitStack() as stack:
        trees = {"this": PROJECT}
        if options.against:
            trees[options.against] = stack.enter_context(checkout(options.against))
        servers = [Server(tree, model.resolve(), name) for name, tree in trees.items()]
        for server in servers:
            stack.callback(server.process.wait)
            stack.callback(server.process.terminate)
        found: list[list[dict[str, float]]] = []
        for seed in range(options.turns):
            found.append([asyncio.run(turn(server, seed)) for server in servers])
            print(f"turn {seed + 1} of {options.turns}", file=sys.stderr, flush=True)
        print(f"{'':<42}" + "".join(f"{server.name[:12]:>14}" for server in servers) + f"{'ratio':>8}")
        for name in found[0][0]:
            medians = [statistics.median(each[at][name] for each in found) for at in range(len(servers))]
            ratio = statistics.median(each[0][name] / each[-1][name] for each in found)
            print(f"{name:<42}" + "".join(f"{median:>14.2f}" for median in medians) + f"{ratio:>8.2f}")


if __name__ == "__main__":
    main()
