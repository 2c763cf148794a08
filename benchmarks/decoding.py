"""Decoding eight conversations together by the server's engine, against transformers' own `generate`: turn by turn.

python -m benchmarks.decoding [turns]     # after `make run`; PHI_HOME says where
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.made import folders
from serving_code.engine import Engine, Sampling
from serving_code.prompts import Message

QUESTIONS, ROWS, NEW_TOKENS = 32, 8, 32


def conversations(dataset: Path) -> list[list[Message]]:
    """First questions of the training conversations."""
    lines = (dataset / "train.jsonl").read_text(encoding="utf-8").splitlines()[:QUESTIONS]
    return [[message for message in json.loads(line)["messages"] if message["role"] == "user"][:1] for line in lines]


def ours(model: Path, asked: list[list[Message]]) -> Callable[[], int]:
    """Decodes them all; returns the tokens decoded."""
    engine = Engine.load(model, dtype="bfloat16")
    sampling = Sampling(max_new_tokens=NEW_TOKENS)
    return lambda: sum(answer.completion_tokens for answer in engine.complete(asked, sampling, rows=ROWS))


def theirs(model: Path, asked: list[list[Message]], rows: int) -> Callable[[], int]:
    """The same by `generate`, so many rows at a time, padded."""
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def decode() -> int:
        decoded = 0
        for start in range(0, len(asked), rows):
            texts = [
                tokenizer.apply_chat_template(each, tokenize=False, add_generation_prompt=True)
                for each in asked[start : start + rows]
            ]
            inputs = tokenizer(texts, return_tensors="pt", padding=rows > 1, add_special_tokens=False)
            with torch.inference_mode():
                found = loaded.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, pad_token_id=pad)
            decoded += int((found[:, inputs["input_ids"].shape[1] :] != pad).sum())
        return decoded

    return decode


def tokens_per_second(decode: Callable[[], int]) -> float:
    began = time.perf_counter()
    return decode() / (time.perf_counter() - began)


def main(turns: int) -> None:
    """Print the medians, and how many times as fast the engine is, turn by turn."""
    model, dataset = folders()
    asked = conversations(dataset)
    contestants = {
        "transformers generate, one by one": theirs(model, asked, 1),
        f"transformers generate, {ROWS} padded": theirs(model, asked, ROWS),
        f"our engine, {ROWS} together": ours(model, asked),
    }
    for decode in contestants.values():
        decode()
    found = [{name: tokens_per_second(decode) for name, decode in contestants.items()} for _ in range(turns)]
    *peers, mine = contestants
    print(f"{'what':<36}{'median tokens/s':>16}")
    for name in contestants:
        print(f"{name:<36}{statistics.median(turn[name] for turn in found):>16.1f}")
    for peer in peers:
        ratios = sorted(turn[mine] / turn[peer] for turn in found)
        print(f"against {peer}: {statistics.median(ratios):.2f} times, from {ratios[0]:.2f} to {ratios[-1]:.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
