"""Replay: on its rows the model is held to its base, and the rest is learned as without it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_code.conftest import write_jsonl
from training_code.chat_template import Tokens
from training_code.errors import TrainingRefused
from training_code.replay import HELD, Mixed, base_of, held_labels, rows_wanted
from training_code.settings import Settings
from training_code.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")


@pytest.fixture
def replay_file(tmp_path: Path) -> Path:
    asked = [
        f"What is a kind of {word}?" for word in ("tree", "bird", "river", "cloud", "stone", "song", "tale", "game")
    ]
    rows = [
        [{"role": "user", "content": question}, {"role": "assistant", "content": f"{question[10:-1]} number {n}"}]
        for n, question in enumerate(asked)
    ]
    return write_jsonl(tmp_path / "replay.jsonl", rows)


def trainer_for(settings: Settings) -> Trainer:
    """A trainer whose rows are replay only."""
    from training_code import process
    from training_code.data import as_dataset, load_rows
    from training_code.model import load_model, load_tokenizer, stop_ids
    from training_code.trainer import make_trainer

    process.prepare(settings)
    tokenizer = load_tokenizer(settings.base_model)
    assert settings.replay_file
    stops = stop_ids(settings.base_model, tokenizer)
    rows = load_rows(settings.replay_file, tokenizer, stops, settings.max_length, 0.0).rows
    data = as_dataset(rows, label=held_labels, packing=settings.packing, packed_length=256, seed=0)
    order = Mixed(0, len(data), len(data), 0)
    return make_trainer(settings, load_model(settings), tokenizer, data, data, [], order, replays=True)


def loss(trainer: Trainer) -> Any:
    model: Any = trainer.model
    model.train()
    rows: Any = trainer.train_dataset
    return trainer.compute_loss(model, dict(trainer.data_collator([rows[i] for i in range(min(2, len(rows)))])))


def test_the_label_of_a_replayed_token_is_no_token_and_is_not_ignored():
    labels = held_labels(Tokens([7, 0, 5, 9], [False, True, True, False]))
    assert labels == [-100, HELD, HELD - 5, -100]
    assert held_labels(Tokens([7, 8], [True, True])) == [-100, HELD - 8]


@pytest.mark.parametrize(
    ("own", "per_row", "share", "rows"), [(600, 50, 0.5, 12), (600, 50, 0.25, 4), (9, 500, 0.1, 1)]
)
def test_an_epoch_has_as_many_rows_of_replay_as_the_share_wants(own: int, per_row: int, share: float, rows: int):
    assert rows_wanted(own, per_row, share) == rows


def test_each_row_is_learned_once_an_epoch_and_every_epoch_replays_other_rows():
    order = Mixed(own=5, replay=10, each=4, seed=3)
    epochs = []
    for epoch in range(3):
        order.set_epoch(epoch)
        epochs.append(list(order))
    assert all(len(rows) == len(order) == 9 for rows in epochs)
    assert all(sorted(row for row in rows if row < 5) == [0, 1, 2, 3, 4] for rows in epochs)
    replayed = [{row for row in rows if row >= 5} for rows in epochs]
    assert all(len(rows) == 4 for rows in replayed)
    assert set.union(*replayed) == set(range(5, 15))
    assert not replayed[0] & replayed[1]
    assert epochs[0] != epochs[1] != epochs[2]
    order.set_epoch(1)
    assert list(order) == epochs[1]


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("packing", [True, False])
def test_a_model_that_was_not_trained_yet_loses_nothing_on_replay(
    settings: Callable[..., Settings], replay_file: Path, method: str, packing: bool
):
    trainer = trainer_for(settings(method=method, packing=packing, replay_file=replay_file, replay_share=0.3))
    assert loss(trainer).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_loss_on_replay_is_the_divergence_from_the_base(
    settings: Callable[..., Settings], replay_file: Path, method: str
):
    import torch

    trainer = trainer_for(settings(method=method, packing=False, replay_file=replay_file, replay_share=0.3))
    model: Any = trainer.model
    rows: Any = trainer.train_dataset
    model.train()
    batch = trainer.data_collator([rows[0]])
    places = batch["labels"][:, 1:] <= HELD

    def log_shares() -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=batch["input_ids"]).logits[:, :-1][places].log_softmax(-1)

    before = log_shares()
    with torch.no_grad():
        torch.manual_seed(0)
        for each in model.parameters():
            if each.requires_grad:
                each.add_(torch.randn_like(each) * 0.02)
    after = log_shares()

    found = trainer.compute_loss(model, dict(batch))
    found.backward()

    expected = (before.exp() * (before - after)).sum() / places.sum()
    assert expected > 1e-5
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert any(each.grad is not None and each.grad.abs().sum() > 0 for each in model.parameters())


def test_the_bases_copy_in_bf16_gives_the_same_loss_and_gradient_in_half_the_memory(
    settings: Callable[..., Settings], replay_file: Path, monkeypatch: pytest.MonkeyPatch
):
    import torch

    from training_code import trainer as module

    given = {"method": "full", "frozen": "embeddings", "precision": "bf16-autocast"}
    found = []
    for halved in (True, False):
        if not halved:
            monkeypatch.setattr(module, "base_of", lambda model, in_bf16: base_of(model))
        trainer = trainer_for(settings(**given, replay_file=replay_file, replay_share=0.3))
        with torch.no_grad():
            torch.manual_seed(0)
            for each in trainer.model.parameters():  # type: ignore[union-attr]
                each.add_(torch.randn_like(each) * 0.02 if each.requires_grad else 0)
        value = loss(trainer)
        value.backward()
        assert trainer.base
        kinds = {each.dtype for name, each in trainer.base()[0].named_parameters() if "proj" in name}
        found.append((value, {n: p.grad for n, p in trainer.model.named_parameters()}, kinds))  # type: ignore[union-attr]

    (half, half_gradients, half_kinds), (whole, gradients, kinds) = found
    assert half == whole > 0
    assert all(gradients[name] is None or gradients[name].equal(half_gradients[name]) for name in gradients)
    assert (half_kinds, kinds) == ({torch.bfloat16}, {torch.float32})


def test_what_is_frozen_is_shared_by_the_model_and_its_base(settings: Callable[..., Settings], replay_file: Path):
    given = {"method": "full", "frozen": "embed_tokens", "replay_file": replay_file, "replay_share": 0.3}
    trainer = trainer_for(settings(**given))
    assert trainer.base is not None
    base, _ = trainer.base()
    mine, its = dict(trainer.model.named_parameters()), dict(base.named_parameters())  # type: ignore[union-attr]
    shared = {name for name in mine if mine[name] is its[name]}
    assert shared == {name for name, each in mine.items() if not each.requires_grad}
    assert shared
    assert not any(each.requires_grad for each in base.parameters())


def test_a_run_counts_what_it_replays_and_stays_nearer_to_its_base(
    settings: Callable[..., Settings], train: Callable[..., Any], replay_file: Path, tmp_path: Path
):
    given = {"method": "full", "epochs": 3, "learning_rate": 3e-3, "early_stopping_patience": 0}
    plain, _ = train(settings(output_dir=tmp_path / "plain", **given))
    held, lines = train(settings(output_dir=tmp_path / "held", replay_file=replay_file, replay_share=0.5, **given))

    assert plain["conversations"]["replay"] == plain["tokens"]["replay"] == 0
    assert held["conversations"]["replay"] == 8
    assert held["steps"] > plain["steps"]
    assert held["tokens"]["replay"] > 0
    assert any("8 conversations to replay, 50% of an epoch" in line for line in lines)
    assert held["fingerprint"] != plain["fingerprint"]
    assert distance(settings(), tmp_path / "held", replay_file) < 0.7 * distance(
        settings(), tmp_path / "plain", replay_file
    )
    assert held["validation_losses"][-1]["loss"] < held["validation_losses"][0]["loss"]


def distance(settings: Settings, trained: Path, replay_file: Path) -> float:
    """The mean divergence of the trained model from its base on the replayed answers."""
    import torch
    from transformers import AutoModelForCausalLM

    from training_code.data import load_rows
    from training_code.model import load_tokenizer, stop_ids

    tokenizer = load_tokenizer(settings.base_model)
    rows = load_rows(replay_file, tokenizer, stop_ids(settings.base_model, tokenizer), 512, 0.0).rows
    models = [AutoModelForCausalLM.from_pretrained(each) for each in (settings.base_model, trained / "model")]
    found = []
    for row in rows:
        with torch.no_grad():
            base, tuned = (model(torch.tensor([row.ids])).logits[0].log_softmax(-1) for model in models)
        places = torch.tensor(row.in_loss[1:])
        found.append((base.exp() * (base - tuned)).sum(-1)[:-1][places].mean().item())
    return sum(found) / len(found)


def test_the_result_depends_on_the_replayed_file_and_not_on_its_place(
    settings: Callable[..., Settings], replay_file: Path, tmp_path: Path
):
    from training_code.checkpoints import fingerprint

    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(replay_file.read_bytes())
    one, two = (fingerprint(settings(replay_file=each, replay_share=0.3)) for each in (replay_file, moved))
    assert one == two
    moved.write_text(moved.read_text(encoding="utf-8").replace("tree", "hill"), encoding="utf-8")
    assert fingerprint(settings(replay_file=moved, replay_share=0.3)) != one


def test_a_replay_file_that_is_missing_or_broken_is_named(
    settings: Callable[..., Settings], train: Callable[..., Any], tmp_path: Path
):
    missing = tmp_path / "missing.jsonl"
    with pytest.raises(TrainingRefused, match=r"replay_file: no file .*missing\.jsonl"):
        train(settings(replay_file=missing, replay_share=0.3))
    missing.write_text(json.dumps({"messages": []}) + "\n", encoding="utf-8")
    with pytest.raises(TrainingRefused, match=r"missing\.jsonl:1 has no list"):
        train(settings(replay_file=missing, replay_share=0.3))


def test_replay_with_a_model_that_computes_all_logits_or_none_is_refused(
    settings: Callable[..., Settings], replay_file: Path, monkeypatch: pytest.MonkeyPatch
):
    from training_code import trainer as module

    monkeypatch.setattr(module, "takes_positions", lambda model: False)
    with pytest.raises(
        TrainingRefused, match=r"Phi3ForCausalLM cannot compute the logits of chosen .* replay_share to 0"
    ):
        trainer_for(settings(replay_file=replay_file, replay_share=0.3))


def test_without_a_share_nothing_is_replayed(settings: Callable[..., Settings], train: Callable[..., Any]):
    report, _ = train(settings(replay_share=0.3))
    assert report["conversations"]["replay"] == 0
