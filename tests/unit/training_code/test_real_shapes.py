"""The published Phi models in small: prepared, masked, packed, trained, merged, served, and stopped by themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from phi_assets.base_models import FolderModel, resolve
from serving_code.engine import Engine, Sampling
from tests.support.phi_shapes import ORIGINAL, SHAPES, WINDOW, Shape, make_phi
from tests.unit.training_code.conftest import write_jsonl
from tests.unit.training_code.test_loss import loss_per_token, trainer_for
from tests.unit.training_code.test_qlora import quantised, tensors
from training_code.chat_template import tokenise
from training_code.model import load_tokenizer, stop_ids
from training_code.settings import PRESETS, Settings, read_preset

__all__ = ["quantised"]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
Make = Callable[..., Settings]
Run = Callable[[Settings], tuple[dict[str, Any], list[str]]]

FACTS = {"pump": "In the red box.", "lamp": "Under the  hose, ü.", "hose": "I do not know that.\nAsk the engineers."}
QUICK = {("phi3-mini-4k", "lora"), ("phi35-mini", "full"), ("phi4-mini", "qlora")}
"""Shapes and methods that the default suite trains; each of both once."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Shape], Path]:
    """A function that returns the prepared folder of a shape; each is made once."""
    made: dict[str, Path] = {}

    def get(shape: Shape) -> Path:
        if shape not in made:
            folder = tmp_path_factory.mktemp(shape)
            made[shape] = resolve(FolderModel(make_phi(folder / "published", shape)), folder / "models").address
        return made[shape]

    return get


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    rows = [
        [{"role": "user", "content": f"Where is the {thing}?"}, {"role": "assistant", "content": answer}]
        for thing, answer in FACTS.items()
    ]
    write_jsonl(tmp_path / "once.jsonl", rows)
    return write_jsonl(tmp_path / "facts.jsonl", rows * 120)


@pytest.mark.parametrize("shape", SHAPES)
def test_answers_with_their_end_token_are_in_the_loss_and_nothing_else(prepared: Any, shape: Shape):
    folder = prepared(shape)
    tokenizer: Any = load_tokenizer(folder)
    stops = stop_ids(folder, tokenizer)
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Where is the pump?"},
        {"role": "assistant", "content": "Under the  hose, ü.\n"},
        {"role": "user", "content": " And?"},
        {"role": "assistant", "content": "No."},
    ]
    tokens = tokenise(tokenizer, messages, stops)

    turns, inside = [], False
    for token, learned in zip(tokens.ids, tokens.in_loss, strict=True):
        if learned and not inside:
            turns.append([])
        if learned:
            turns[-1].append(token)
        inside = learned
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert [tokenizer.decode(turn[:-1]).strip(" ") for turn in turns] == ["Under the  hose, ü.\n", "No."]
    assert {turn[-1] for turn in turns} == {end}
    assert end in stops
    assert tokenizer.pad_token_id not in stops
    # What the model will read before it answers, token by token.
    asked = tokenizer.apply_chat_template(messages[:2], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert tokens.ids[: len(asked)] == asked
    assert not any(tokens.in_loss[: len(asked)])
    assert tokens.in_loss[len(asked)]


@pytest.mark.parametrize("shape", SHAPES)
def test_packed_rows_have_the_loss_of_their_conversations_beyond_window_and_original_positions(
    prepared: Any, settings: Make, shape: Shape
):
    """Rows of 512 tokens: longer than the window and than the positions at which longrope changes its factors."""
    made = {"base_model": prepared(shape), "max_length": ORIGINAL}
    alone = trainer_for(settings(packing=False, **made))
    packed = trainer_for(settings(packing=True, packed_length=2 * ORIGINAL, **made))

    assert max(map(len, packed.train_dataset["input_ids"])) > ORIGINAL
    assert max(map(max, packed.train_dataset["seq_lengths"])) > WINDOW
    assert loss_per_token(packed) == pytest.approx(loss_per_token(alone), abs=2e-5)


@pytest.mark.parametrize(
    ("shape", "method"),
    [
        pytest.param(shape, method, marks=() if (shape, method) in QUICK else pytest.mark.long)
        for shape in SHAPES
        for method in ("full", "lora", "qlora")
    ],
)
def test_a_phi_learns_answers_is_merged_served_and_stops_by_itself(
    prepared: Any, facts: Path, settings: Make, train: Run, quantised: Any, tmp_path: Path, shape: Shape, method: str
):
    base = prepared(shape)
    made = settings(
        base_model=base,
        method=method,
        lora_targets=("attention", "mlp"),
        lora_rank=32,
        lora_alpha=64,
        train_file=facts,
        validation_file=tmp_path / "once.jsonl",
        packed_length=128,
        learning_rate=5e-3 if method == "full" else 1e-2,
        precision="fp32" if method == "full" else "bf16",
        early_stopping_patience=0,
        save_seconds=1e6,
    )
    report, _ = train(made)

    if method != "full":
        assert report["merge"]["largest_logit_difference"] < 1e-3
    published = tmp_path / "out" / "model"
    assert {each.dtype for each in tensors(published).values()} == {torch.bfloat16}
    assert tensors(published).keys() == tensors(base).keys()
    assert json.loads((published / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    engine = Engine.load(published, dtype="float32")
    assert engine.context_length == ORIGINAL
    asked = [[{"role": "user", "content": f"Where is the {thing}?"}] for thing in FACTS]
    answers = engine.complete(asked, Sampling(max_new_tokens=60))  # type: ignore[arg-type]
    assert [(each.text.strip(" "), each.finish_reason) for each in answers] == [
        (text, "stop") for text in FACTS.values()
    ]


@pytest.mark.parametrize("preset", sorted(path.stem for path in PRESETS.glob("*.yaml")))
@pytest.mark.parametrize("shape", ["phi35-mini", "phi4-mini"])
def test_every_preset_names_what_these_models_have(prepared: Any, settings: Make, preset: str, shape: Shape):
    from training_code.model import adapter_config, load_model

    made = settings(**{**read_preset(preset), "base_model": prepared(shape), "tune_malloc": False})
    model = load_model(made)
    trained = {name.rpartition(".")[0] for name, each in model.named_parameters() if each.requires_grad}
    adapter = adapter_config(made, model)

    if adapter:
        assert adapter.target_modules == {"qkv_proj", "o_proj", "gate_up_proj", "down_proj"}
    elif made.frozen:
        assert not any("embed" in name or "lm_head" in name for name in trained)
        assert any("gate_up_proj" in name for name in trained)
