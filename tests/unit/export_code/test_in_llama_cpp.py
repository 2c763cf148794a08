"""The exported file in llama.cpp, against PyTorch: the same tokens, the same probabilities, the same answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from export_code.folder import export_gguf
from export_code.gguf_file import About
from export_code.model_source import read_source
from serving_code.engine import Engine, Sampling
from serving_code.prompts import PromptEncoder
from tests.support.llama_cpp import LlamaServer, served
from tests.unit.export_code.conftest import MODELS

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed here: `pip install xllamacpp`")

HARD_TEXTS = (
    "Hello, world",
    " two  spaces   three",
    "\n\n\tdef f(x):\n    return x + 1\n\n",
    "\r\nline\r\n",
    "배터리는 몇 시간 가나요? 19데시벨입니다",
    "日本語のテキスト、そして中文。",
    "مرحبا שלום नमस्ते ไทย",
    "👩‍👩‍👧‍👦 🇰🇷 é e\u0301\u0301 \u00a0\u200bﬁ",
    "12345 3.14159 1,000,000",
    "I'm, you'RE we'll DON'T",
    "a" * 70,
    '{"a": [1, 2]}  // x',
    "<|user|> <|end|> <s> <unk> as text",
    "   ",
)
CONVERSATION: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "How do I reset the pump?"},
    {"role": "assistant", "content": "Press the button for five seconds."},
    {"role": "user", "content": "And the lamp?"},
]


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, models: Path) -> Path:
    return models / request.param


@pytest.fixture(scope="module")
def llama(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaServer]:
    with exported(model, tmp_path_factory.mktemp("gguf") / "out", "f16") as server:
        yield server


def exported(model: Path, to: Path, quantization: str) -> Any:
    file = next(
        path for path in export_gguf(model, to, About("phi-chat"), quantization, print) if path.suffix == ".gguf"
    )
    source = read_source(model)
    return served(file, source.architecture.vocabulary, source.architecture.served_context)


def test_hard_texts_have_the_same_tokens(model: Path, llama: LlamaServer):
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    for text in HARD_TEXTS:
        assert llama.tokens(text) == tokenizer(text, add_special_tokens=False)["input_ids"], text
        as_text = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert llama.tokens(text, control=False) == as_text, text
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        chat = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        assert llama.tokens(chat) == tokenizer(chat, add_special_tokens=False)["input_ids"], text


def divergences(model: Path, llama: LlamaServer) -> tuple[float, float]:
    """Return the mean divergence from PyTorch in nats, and the share of positions with the same likeliest token.

    Only as many tokens as the smallest sliding window has: llama.cpp has no window for Phi-3.
    """
    tokenizer: Any = AutoTokenizer.from_pretrained(model)
    ids = tokenizer.apply_chat_template(CONVERSATION, add_generation_prompt=True)["input_ids"][:48]
    torch_model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    with torch.inference_mode():
        expected = torch.log_softmax(torch_model(torch.tensor([ids])).logits[0].double(), -1)
    found = torch.tensor([llama.log_probabilities(ids[: at + 1]) for at in range(len(ids))], dtype=torch.float64)
    divergence = (expected.exp() * (expected - found)).sum(-1)
    return float(divergence.mean()), float((found.argmax(-1) == expected.argmax(-1)).double().mean())


def test_probabilities_are_those_of_pytorch(model: Path, llama: LlamaServer):
    divergence, same = divergences(model, llama)

    assert divergence < 1e-4
    assert same == 1.0


@pytest.mark.parametrize("shape", ["phi35-mini", "phi4-mini"])
def test_eight_bits_are_near(models: Path, tmp_path: Path, shape: str):
    with exported(models / shape, tmp_path / "out", "q8_0") as llama:
        divergence, same = divergences(models / shape, llama)

    assert divergence < 0.02
    assert same >= 0.9


def test_prompts_and_answers_are_the_endpoint_s(model: Path, llama: LlamaServer):
    engine = Engine.load(model, dtype="float32")
    asked: list[Any] = [{"role": "user", "content": "Which filter fits the hose?"}]
    prompt = llama.tokens(llama.prompt(asked))
    first = engine.complete([asked], Sampling(max_new_tokens=1))[0].text

    assert prompt == PromptEncoder(AutoTokenizer.from_pretrained(model)).encode(asked)
    # Of a SentencePiece model llama.cpp keeps the space before the first word, which transformers drops.
    assert llama.answer(asked, most=1).lstrip(" ").rstrip("\ufffd") == first.lstrip(" ").rstrip("\ufffd")
    torch_model: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    for token in torch_model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=5)[0, len(prompt) :]:
        found = llama.log_probabilities(prompt)
        assert max(found) - found[int(token)] < 0.02  # the likeliest, or as likely as that within f16
        prompt.append(int(token))
