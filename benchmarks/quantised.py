"""Decoding with int8 weights by our engine, against bf16, transformers, llama.cpp and onnxruntime-genai: turn by turn.

python -m benchmarks.quantised [turns] [folder]    # after `make run`, or of a model folder; needs the extra `quantize`

llama.cpp takes part where xllamacpp is installed, onnxruntime-genai where its package is. Ratios are of the same turn.
"""

import importlib
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.decoding import theirs
from benchmarks.made import folders
from quantization_code.folder import write
from serving_code.engine import Engine, Sampling
from serving_code.prompts import Message

NEW_TOKENS, CLIENTS, THREADS = 48, 8, 2
TEXTS = (
    "How do I clean the filter of my pump?",
    "Write a short story about a lamp in a harbour.",
    "Explain how a battery stores energy.",
    "What should I look for in a garden hose?",
    "Describe a day in the life of a baker.",
    "Why is the sky blue?",
    "Give me advice for a long train journey.",
    "How are bridges built?",
)
ASKED: list[list[Message]] = [[{"role": "user", "content": text}] for text in TEXTS]
Decode = Callable[[], int]


def ours(model: Path, asked: list[list[Message]], rows: int) -> Decode:
    """Decodes the conversations, so many together."""
    engine = Engine.load(model, threads=THREADS, kv_bytes=500_000_000)
    sampling = Sampling(max_new_tokens=NEW_TOKENS)
    return lambda: sum(answer.completion_tokens for answer in engine.complete(asked, sampling, rows=rows))


def in_genai(model: Path, asked: list[list[Message]], place: Path) -> Decode:
    """The same by onnxruntime-genai's own generator, one by one, with the graph of its own builder."""
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", str(model), "-o", str(place)]
    command += ["-p", "int4", "-e", "cpu", "-c", str(place / "cache"), "--extra_options", "int4_accuracy_level=4"]
    subprocess.run(command, check=True, capture_output=True)
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    genai: Any = importlib.import_module("onnxruntime_genai")
    loaded: Any = genai.Model(str(place))

    def decode() -> int:
        decoded = 0
        for each in asked:
            ids = tokenizer.apply_chat_template(each, add_generation_prompt=True, return_dict=True)["input_ids"]
            parameters: Any = genai.GeneratorParams(loaded)
            parameters.set_search_options(max_length=len(ids) + NEW_TOKENS, do_sample=False)
            generator: Any = genai.Generator(loaded, parameters)
            generator.append_tokens(ids)
            while not generator.is_done():
                generator.generate_next_token()
                decoded += 1
        return decoded

    return decode


def in_llama_cpp(model: Path, asked: list[list[Message]], place: Path, servers: ExitStack) -> Decode:
    """The same by llama.cpp's server with Q8_0, one by one."""
    from export_code.folder import export_gguf
    from export_code.gguf_file import About
    from tests.support.llama_cpp import served

    written = export_gguf(model, place, About("model"), "q8_0", lambda line: None)
    file = next(path for path in written if path.suffix == ".gguf")
    server: Any = servers.enter_context(served(file, 0, 1024, threads=THREADS))
    return lambda: sum(server.decoded(each, NEW_TOKENS) for each in asked)


def main(turns: int, folder: Path | None) -> None:
    """Print the median tokens a second of each, their range, and our int8 against each, turn by turn."""
    torch.set_num_threads(THREADS)
    model = folder or folders()[0]
    with tempfile.TemporaryDirectory() as made, ExitStack() as servers:
        place = Path(made)
        write(model, place / "int8", 8)
        one = ASKED[:2]
        single: dict[str, Decode] = {
            "ours, int8": ours(place / "int8", one, 1),
            "ours, bf16": ours(model, one, 1),
            "transformers generate, bf16": theirs(model, one, 1),
        }
        if find_spec("xllamacpp"):
            single["llama.cpp, Q8_0"] = in_llama_cpp(model, one, place / "gguf", servers)
        if find_spec("onnxruntime_genai"):
            single["onnxruntime-genai, int4"] = in_genai(model, one, place / "genai")
        together: dict[str, Decode] = {
            f"ours, int8, {CLIENTS} together": ours(place / "int8", ASKED, CLIENTS),
            f"ours, bf16, {CLIENTS} together": ours(model, ASKED, CLIENTS),
            f"transformers generate, {CLIENTS} padded": theirs(model, ASKED, CLIENTS),
        }
        for contestants in (single, together):
            report(contestants, turns)
    names = ("onnxruntime", "onnxruntime-genai", "xllamacpp", "torch", "transformers")
    print(", ".join(f"{name} {version(name)}" for name in names))
    print(f"{cpu()}, {os.cpu_count()} cores, {THREADS} threads, {NEW_TOKENS} tokens an answer, {turns} turns")


def report(contestants: dict[str, Decode], turns: int) -> None:
    """Measure the contestants one after the other, as many times as there are turns, and print the first's ratios."""
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + 1):
        for name, decode in contestants.items():
            began = time.perf_counter()
            decoded = decode()
            if turn:  # the first one only warms up
                found[name].append(decoded / (time.perf_counter() - began))
    first = next(iter(found.values()))
    print(f"{'':<36}{'tokens/s':>10}{'range':>18}{'ours, int8 / it':>18}")
    for name, speeds in found.items():
        ratios = [mine / its for mine, its in zip(first, speeds, strict=True)]
        spread = f"{min(speeds):.1f} to {max(speeds):.1f}"
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{name:<36}{statistics.median(speeds):>10.1f}{spread:>18}{ratio:>24}", flush=True)


def version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 3, Path(given[1]) if len(given) > 1 else None)
