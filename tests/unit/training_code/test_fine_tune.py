"""Whole runs on tiny models: their results, and the inputs that are refused."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_code.conftest import conversations, write_jsonl
from training_code import checkpoints
from training_code.errors import TooLong, TrainingRefused
from training_code.settings import PRESETS, Settings, read_preset

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")
Run = Callable[[Settings], tuple[dict[str, Any], list[str]]]
Make = Callable[..., Settings]


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def answer(model: Any, tokenizer: Any, question: str) -> str:
    encoded = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt"
    )
    made = model.generate(**encoded, max_new_tokens=16, do_sample=False)
    return tokenizer.decode(made[0, encoded["input_ids"].shape[1] :], clean_up_tokenization_spaces=False)


@dataclass
class Usual:
    """The run with the default settings, and its log lines."""

    out: Path
    report: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Usual:
    return Usual(tmp_path_factory.mktemp("usual") / "out")


@pytest.fixture
def usual(place: Usual, settings: Make, train: Run) -> Usual:
    """Trained once, for the first test that needs it; no test changes its files."""
    if not place.report:
        place.report, place.lines = train(settings(output_dir=place.out))
    return place


@pytest.fixture
def out(usual: Usual, tmp_path: Path) -> Path:
    """A copy of the default run's results in the output folder of this test."""
    return Path(shutil.copytree(usual.out, tmp_path / "out"))


def test_a_run_leaves_the_model_the_adapter_the_report_and_the_pictures(usual: Usual):
    out, report, lines = usual.out, usual.report, usual.lines
    assert sorted(p.name for p in out.iterdir()) == [
        "adapter", "loss_curve.png", "mask.html", "mask.png", "model", "report.json",
    ]  # fmt: skip
    assert json.loads((out / "report.json").read_text()) == report
    assert {p.suffix for p in out.rglob("*") if p.is_file()} <= {
        ".safetensors",
        ".json",
        ".jinja",
        ".png",
        ".html",
        ".md",
    }
    assert (out / "loss_curve.png").read_bytes().startswith(b"\x89PNG")
    assert any("steps left, about" in line for line in lines)
    assert report["steps"] == len(report["losses"])
    assert report["losses"][-1]["loss"] < report["losses"][0]["loss"]
    assert [v["epoch"] for v in report["validation_losses"]] == [1.0, 2.0]
    assert report["tokens_per_second"] > 0
    assert report["peak_memory_gb"] > 0
    assert 0 < report["parameters_trained"] < report["parameters"]
    assert report["libraries"]["torch"]


def test_frozen_modules_keep_the_bases_weights_and_the_others_learn(settings: Make, train: Run, tmp_path: Path):
    made = settings(method="full", frozen=("embed_tokens", "qkv_proj"))
    report, _ = train(made)

    base, tuned = weights(made.base_model), weights(tmp_path / "out" / "model")
    changed = {name for name in base if not base[name].equal(tuned[name])}
    assert changed
    assert not {name for name in changed if "qkv_proj" in name or "embed_tokens" in name}
    assert {name for name in base if "down_proj" in name} <= changed
    assert report["parameters_trained"] < report["parameters"]


def test_beside_an_adapter_nothing_need_be_frozen(settings: Make, train: Run):
    report, _ = train(settings(method="lora", frozen=("qkv_proj",)))
    assert report["losses"][-1]["loss"] < report["losses"][0]["loss"]


def test_a_frozen_module_that_the_model_does_not_have_is_named(settings: Make, train: Run):
    with pytest.raises(TrainingRefused, match="frozen: the model has no layer k_proj"):
        train(settings(method="full", frozen=("k_proj",)))


def test_all_but_the_weights_is_the_bases_byte_by_byte(usual: Usual, settings: Make):
    for path in settings().base_model.iterdir():
        if path.suffix != ".safetensors":
            assert (usual.out / "model" / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_merged_model_is_the_base_with_the_adapter_in_its_weights(settings: Make, train: Run, tmp_path: Path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    made = settings(epochs=6, learning_rate=1e-2)
    report, _ = train(made)
    assert report["merge"]["equal_greedy_answers"] == report["merge"]["prompts"] == 2
    tokenizer = AutoTokenizer.from_pretrained(made.base_model)
    base = AutoModelForCausalLM.from_pretrained(made.base_model)
    adapted = PeftModel.from_pretrained(base, tmp_path / "out" / "adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    ids = torch.arange(5, 60)[None]
    with torch.no_grad():
        assert torch.allclose(adapted(ids).logits, merged(ids).logits, atol=1e-4)
        with adapted.disable_adapter():
            assert not torch.allclose(adapted(ids).logits, merged(ids).logits, atol=1e-2)
    for question in ("Where is the pump?", "Where is the red lamp?"):
        assert answer(merged, tokenizer, question) == answer(adapted, tokenizer, question)


@pytest.mark.parametrize("precision", ["bf16-autocast", "bf16"])
def test_the_merge_is_exact_to_fp32_whatever_the_training_computed_in(settings: Make, train: Run, precision: str):
    report, _ = train(settings(precision=precision, learning_rate=1e-2))
    assert report["merge"]["largest_logit_difference"] < 1e-4
    assert report["merge"]["equal_greedy_answers"] == 2


def test_the_weights_keep_the_number_format_of_the_base(settings: Make, train: Run, tiny: Any, tmp_path: Path):
    import torch
    from transformers import AutoModelForCausalLM

    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(tiny(), dtype=torch.bfloat16).save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        (base / name).write_bytes((tiny() / name).read_bytes())
    train(settings(base_model=base, precision="bf16"))
    assert {t.dtype for t in weights(tmp_path / "out" / "model").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "out" / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_full_fine_tune_changes_every_kind_of_weight_and_has_no_adapter(settings: Make, train: Run, tmp_path: Path):
    import torch

    made = settings(method="full")
    report, _ = train(made)
    assert not (tmp_path / "out" / "adapter").exists()
    assert report["parameters_trained"] == report["parameters"]
    before, after = weights(made.base_model), weights(tmp_path / "out" / "model")
    assert before.keys() == after.keys()
    assert not [name for name in before if torch.equal(before[name], after[name])]


@pytest.mark.guide("fine-tune")
@pytest.mark.integration
@pytest.mark.parametrize("preset", sorted(p.stem for p in PRESETS.glob("*.yaml")))
def test_every_preset_trains_a_tiny_model_of_its_family(
    preset: str, settings: Make, train: Run, tiny: Any, tmp_path: Path
):
    family = "phi4" if "phi4" in preset else "phi3" if "phi35" in preset else "smollm2"
    given = read_preset(preset)
    report, _ = train(settings(**{"tune_malloc": False, **given, "base_model": tiny(family)}))
    assert report["losses"]
    assert {name: report["config"][name] for name in given} == given
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()


def test_the_rate_rises_through_the_warm_up_and_falls_as_a_cosine(settings: Make):
    from training_code.trainer import arguments

    made = arguments(settings(warmup_share=0.2, epochs=3), steps=50)
    assert (made.warmup_steps, made.lr_scheduler_type) == (10, "cosine")


def test_training_stops_when_the_validation_gets_no_better_and_keeps_the_best_weights(
    settings: Make, train: Run, tmp_path: Path
):
    # Answers that contradict the training file: the better it is learnt, the worse these get.
    rows = [[row[0], {"role": "assistant", "content": "🙂🙂🙂"}] for row in conversations(4, seed=3)]
    against = write_jsonl(tmp_path / "against.jsonl", rows)
    made = settings(validation_file=against, epochs=12, learning_rate=2e-2, early_stopping_patience=1, warmup_share=0)
    report, _ = train(made)
    losses = [v["loss"] for v in report["validation_losses"]]
    assert report["stopped_early"]
    assert len(losses) < 12
    assert losses[-1] > report["best_validation_loss"] == min(losses)
    assert report["best_step"] < report["steps"]


def test_the_same_run_again_does_nothing(usual: Usual, out: Path, settings: Make, train: Run):
    stamp = (out / "model" / "model.safetensors").stat().st_mtime_ns
    again, lines = train(settings())
    assert again == usual.report
    assert "nothing to do" in lines[0]
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_result_with_a_missing_or_shortened_file_is_made_again(usual: Usual, out: Path, settings: Make, train: Run):
    path = out / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    again, lines = train(settings())
    assert "nothing to do" not in lines[0]
    assert again["files"] == usual.report["files"]


def test_another_seed_gives_other_weights_in_the_same_folder(usual: Usual, out: Path, settings: Make, train: Run):
    name = "model/model.safetensors"
    other, _ = train(settings(seed=1))
    assert other["files"][name]["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()
    assert other["files"][name] != usual.report["files"][name]


def test_saving_at_every_step_and_measuring_first_leave_the_weights_as_they_would_be(
    settings: Make, train: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    dropout: dict[str, Any] = {"lora_dropout": 0.2}
    saved: list[int] = []
    mark = checkpoints.mark_complete
    monkeypatch.setattr(checkpoints, "mark_complete", lambda *a, **b: (saved.append(a[1]), mark(*a, **b)))
    first, lines = train(settings(output_dir=tmp_path / "one", save_seconds=1e-6, **dropout))
    assert saved == list(range(1, first["steps"] + 1))
    assert sum("checkpoint at step" in line for line in lines) == 1  # others only with the progress
    monkeypatch.setattr("training_code.estimate.measured_steps", lambda trainer: (1_000_000, 1.0))
    second, _ = train(settings(output_dir=tmp_path / "two", save_seconds=1e6, **dropout))
    assert first["files"]["model/model.safetensors"] == second["files"]["model/model.safetensors"]


def test_a_run_that_would_take_too_long_is_refused_before_it_trains(settings: Make, train: Run, tmp_path: Path):
    with pytest.raises(TooLong, match=r"about \d+\.\d minutes, and max_train_minutes is 0.001.*Nothing was trained"):
        train(settings(max_train_minutes=0.001, epochs=500))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_model": "/nowhere/model"}, "base_model: no folder /nowhere/model"),
        ({"train_file": "/nowhere/t.jsonl"}, "train_file: no file /nowhere/t.jsonl"),
        ({"method": "qlora"}, "qlora needs a CUDA GPU"),
        ({"lora_targets": ["q_proj"]}, r"no layer q_proj; it has down_proj, gate_up_proj, .*qkv_proj"),
        ({"attention": "flash_attention_2"}, "attention = flash_attention_2"),
        ({"schedule": "cosinus"}, "cosinus is not a valid"),
        ({"optimizer": "adam"}, "adam is not a valid"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_reason(
    settings: Make, train: Run, given: dict[str, Any], says: str
):
    with pytest.raises(TrainingRefused, match=says):
        train(settings(**given))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "chat_template.jinja").unlink(), "no chat template"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no safetensors weights"),
    ],
)
def test_a_model_folder_that_lacks_a_part_is_refused(
    settings: Make, train: Run, tmp_path: Path, spoil: Callable[[Path], None], says: str
):
    from tests.support.tiny_models import make_tiny_phi3

    folder = make_tiny_phi3(tmp_path / "base")
    spoil(folder)
    with pytest.raises(TrainingRefused, match=says):
        train(settings(base_model=folder))


def test_a_model_that_pads_with_its_end_token_is_refused(settings: Make, train: Run, tmp_path: Path):
    from tests.support.tiny_models import make_tiny_phi3

    folder = make_tiny_phi3(tmp_path / "base")
    path = folder / "tokenizer_config.json"
    path.write_text(path.read_text().replace('"pad_token": "<|endoftext|>"', '"pad_token": "<|im_end|>"'))
    with pytest.raises(TrainingRefused, match="the pad token must not be an end token"):
        train(settings(base_model=folder))


def test_the_rows_shown_are_those_with_most_turns():
    from training_code.pictures import chosen_rows

    rows = conversations(24, seed=1)
    assert [len(rows[i]) for i in chosen_rows(rows)] == sorted(map(len, rows), reverse=True)[:3]
