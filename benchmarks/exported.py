"""Decoding one conversation after another by an exported model in llama.cpp, our engine and transformers: turn by turn.

python -m benchmarks.exported [turns]     # after `make run`; PHI_HOME says where; needs package xllamacpp
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import NEW_TOKENS, conversations, theirs
from benchmarks.made import folders
from export_code.folder import export_gguf
from export_code.gguf_file import About
from serving_code.engine import Engine, Sampling
from serving_code.prompts import Message
from tests.support.llama_cpp import LlamaServer, served

ASKED, THREADS, CONTEXT = 8, 2, 512
KINDS = ("f16", "q8_0", "q4_1", "q4_0")


def ours(model: Path, asked: list[list[Message]]) -> Callable[[], int]:
    engine = Engine.load(model, dtype="bfloat16")
    sampling = Sampling(max_new_tokens=NEW_TOKENS)
    return lambda: sum(engine.complete([each], sampling)[0].completion_tokens for each in asked)


def in_llama_cpp(server: LlamaServer, asked: list[list[Message]]) -> Callable[[], int]:
    return lambda: sum(server.decoded(each, NEW_TOKENS) for each in asked)


def main(turns: int) -> None:
    """Print the median tokens a second of each, with prompts, and the range over the turns."""
    torch.set_num_threads(THREADS)
    model, dataset = folders()
    asked = conversations(dataset)[:ASKED]
    contestants: dict[str, Callable[[], int]] = {
        "transformers generate, bf16": theirs(model, asked, 1),
        "our engine, bf16": ours(model, asked),
    }
    with tempfile.TemporaryDirectory() as place, ExitStack() as servers:
        for kind in KINDS:
            written = export_gguf(model, Path(place, kind), About("model"), kind, lambda line: None)
            file = next(path for path in written if path.suffix == ".gguf")
            server: Any = servers.enter_context(served(file, 0, CONTEXT, threads=THREADS))
            contestants[f"llama.cpp, {kind}, {file.stat().st_size / 1e6:.0f} MB"] = in_llama_cpp(server, asked)
        found: dict[str, list[float]] = {name: [] for name in contestants}
        for turn in range(turns + 1):
            for name, decode in contestants.items():
                began = time.perf_counter()
                decoded = decode()
                if turn:  # the first one only warms up
                    found[name].append(decoded / (time.perf_counter() - began))
    print(f"{os.cpu_count()} cores, {THREADS} threads")
    for name, speeds in found.items():
        print(f"{name:<32}{statistics.median(speeds):>8.1f} tokens/s, {min(speeds):.1f} to {max(speeds):.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
