"""Preference training: trl's DPO on our rows, against the model as the conversations left it."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_code.conftest import WORDS
from training_code.pairs import TokenPair, TokenPairs
from training_code.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")
ON: dict[str, Any] = {
    "preference": "dpo",
    "preference_learning_rate": 2e-3,
    "preference_epochs": 3,
    "epochs": 1,
    "early_stopping_patience": 0,
}


def pair(number: int, split: str) -> dict[str, Any]:
    """A pair whose chosen answer is short and in capital letters."""
    one, two = WORDS[number % len(WORDS)], WORDS[(number // len(WORDS) + number) % len(WORDS)]
    return {
        "split": split,
        "prompt": [{"role": "user", "content": f"Where is the {one} {two} {number}?"}],
        "chosen": [{"role": "assistant", "content": f"THE {one.upper()} {two.upper()}"}],
        "rejected": [{"role": "assistant", "content": f"In the {one} with the {two}, I think."}],
    }


def write_pairs(path: Path, train: int, held_out: int) -> Path:
    rows = [pair(n, "train" if n < train else "test") for n in range(train + held_out)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.jsonl", 24, 12)


def parts(settings: Settings) -> tuple[Any, Any, TokenPairs]:
    """The base model with a fresh adapter where the settings want one, its tokenizer, and the pairs."""
    from peft import get_peft_model

    from training_code import process
    from training_code.model import adapter_config, load_model, load_tokenizer, stop_ids
    from training_code.pairs import load_pairs

    process.prepare(settings)
    tokenizer = load_tokenizer(settings.base_model)
    model: Any = load_model(settings)
    wanted = adapter_config(settings, model)
    model = get_peft_model(model, wanted) if wanted else model
    return model, tokenizer, load_pairs(settings, tokenizer, stop_ids(settings.base_model, tokenizer), 512)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_loss_is_that_of_the_paper_against_the_model_before(
    settings: Callable[..., Settings], pairs_file: Path, tmp_path: Path, method: str
):
    import torch

    from training_code.preference import likelihoods, make_preference_trainer

    given = settings(**ON, method=method, preference_file=pairs_file, preference_beta=0.3)
    model, tokenizer, pairs = parts(given)
    reference = likelihoods(model, pairs.train)
    trainer = make_preference_trainer(given, model, tokenizer, pairs.train, tmp_path, [])
    rows: Any = trainer.train_dataset

    def loss() -> float:
        batch = trainer.data_collator([rows[i] for i in range(3)])
        return trainer.compute_loss(model, batch).item()

    assert loss() == pytest.approx(math.log(2), abs=1e-5)
    for row, each in zip(rows, reference, strict=True):
        assert row["ref_chosen_logps"] == pytest.approx(each.chosen, abs=1e-3)
        assert row["ref_rejected_logps"] == pytest.approx(each.rejected, abs=1e-3)
    with torch.no_grad():
        torch.manual_seed(0)
        for each in model.parameters():
            each.add_(torch.randn_like(each) * 0.05 if each.requires_grad else 0)
    now = likelihoods(model, pairs.train[:3])
    margins = [
        0.3 * ((new.chosen - old.chosen) - (new.rejected - old.rejected))
        for new, old in zip(now, reference[:3], strict=True)
    ]
    expected = sum(math.log1p(math.exp(-margin)) for margin in margins) / 3
    assert abs(expected - math.log(2)) > 1e-3
    assert loss() == pytest.approx(expected, rel=1e-4)


def test_an_answer_is_as_likely_as_its_tokens_one_after_another(settings: Callable[..., Settings], pairs_file: Path):
    import torch

    from training_code.preference import likelihoods

    model, tokenizer, pairs = parts(settings(**ON, method="full", preference_file=pairs_file))
    first = pairs.train[0]
    assert tokenizer.decode(first.chosen) == "THE PUMP PUMP<|im_end|>"
    ids, total = list(first.prompt), 0.0
    for token in first.chosen:
        with torch.no_grad():
            total += model.eval()(torch.tensor([ids])).logits[0, -1].log_softmax(-1)[token].item()
        ids.append(token)
    assert likelihoods(model, [first])[0].chosen == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize(("method", "precision"), [("full", "bf16-autocast"), ("lora", "fp32")])
def test_held_out_chosen_answers_are_preferred_more_often_afterwards(
    settings: Callable[..., Settings], train: Callable[..., Any], pairs_file: Path, method: str, precision: str
):
    report, lines = train(settings(**ON, method=method, precision=precision, preference_file=pairs_file))

    found = report["preference"]
    assert found["pairs"] == {"train": 24, "held_out": 12, "held_out_share": round(1 / 3, 4), "left_out": {}}
    assert (found["steps"], len(found["losses"])) == (18, 18)
    assert found["preferred_before"] < 0.5 < 0.9 < found["preferred_after"]
    assert found["losses"][0]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert found["losses"][-1]["loss"] < 0.6
    assert any("of 12 held-out pairs the chosen answer is likelier per token" in line for line in lines)
    if method == "lora":
        folder = Path(report["config"]["output_dir"])
        assert sorted(path.name for path in (folder / "adapter").iterdir() if path.is_dir()) == []
        assert report["merge"]["equal_greedy_answers"] == 2


def test_with_fewer_than_twenty_pairs_it_says_why_not_and_learns_the_conversations(
    settings: Callable[..., Settings], train: Callable[..., Any], tmp_path: Path
):
    few = write_pairs(tmp_path / "few.jsonl", 15, 4)
    report, lines = train(settings(**ON, preference_file=few))
    said = next(line for line in lines if "no preference training" in line)
    assert "usable preference pairs: 19, of them for training: 15, needed: at least 20" in said
    assert report["preference"]["not_done"] in said
    assert "steps" not in report["preference"]
    assert report["steps"] > 0

    none, lines = train(settings(**ON))
    assert "usable preference pairs: 0," in none["preference"]["not_done"]


@pytest.mark.long
def test_a_run_that_dies_in_the_stage_resumes_there_and_ends_with_the_same_weights(
    settings: Callable[..., Settings],
    train: Callable[..., Any],
    pairs_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    from training_code.preference import PreferenceTrainer

    def digest(report: dict[str, Any]) -> str:
        return report["files"]["model/model.safetensors"]["sha256"]

    given = {**ON, "preference_file": pairs_file, "preference_epochs": 2}
    undisturbed, _ = train(settings(**given, output_dir=tmp_path / "undisturbed"))
    step = PreferenceTrainer.training_step
    steps = iter(range(31))  # four pairs to a step: dies in the eighth of twelve

    def dying(*given: Any, **named: Any) -> Any:
        if next(steps, None) is None:
            raise RuntimeError("the node is lost")
        return step(*given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(PreferenceTrainer, "training_step", dying)
        with pytest.raises(RuntimeError, match="the node is lost"):
            train(settings(**given, save_seconds=1e-6))
    report, lines = train(settings(**given))

    assert any("preference training resumes from step 7" in line for line in lines)
    assert digest(report) == digest(undisturbed)
    assert report["preference"]["preferred_before"] == undisturbed["preference"]["preferred_before"]
    assert report["preference"]["losses"] == undisturbed["preference"]["losses"]


def test_without_the_stage_a_recipe_and_its_fingerprint_are_as_before(
    settings: Callable[..., Settings], pairs_file: Path, tmp_path: Path
):
    from training_code.checkpoints import fingerprint

    off = settings()
    assert not [name for name in off.learned_from() if name.startswith("preference")]
    assert settings(preference_beta=0.5).learned_from() == off.learned_from()
    assert fingerprint(settings(preference_file=pairs_file)) == fingerprint(off)

    on = settings(**ON, preference_file=pairs_file)
    assert on.learned_from()["preference_beta"] == 0.1
    before = fingerprint(on)
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(pairs_file.read_bytes())
    assert fingerprint(settings(**ON, preference_file=moved)) == before
    moved.write_text(moved.read_text(encoding="utf-8").replace("think", "guess"), encoding="utf-8")
    assert fingerprint(settings(**ON, preference_file=moved)) != before


def test_the_share_is_of_pairs_whose_chosen_answer_is_likelier_per_token():
    from training_code.preference import Likelihood, preferred_share

    pairs = [TokenPair([1], [2, 3], [4]), TokenPair([1], [2], [3, 4, 5])]
    assert preferred_share(pairs, [Likelihood(-2.0, -1.5), Likelihood(-1.0, -2.7)]) == 0.5
    assert preferred_share([], []) is None
