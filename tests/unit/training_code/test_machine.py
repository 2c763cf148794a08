"""What a machine cannot train is refused before data and weights are loaded; a single process uses one GPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.training_code.conftest import Recorder
from tests.unit.training_code.test_loss import trainer_for
from training_code import machine, memory
from training_code.errors import TrainingRefused
from training_code.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")
Make = Callable[..., Settings]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes torch report a number of GPUs, of which CUDA_VISIBLE_DEVICES shows some."""

    def report(count: int, *, bf16: bool = True) -> None:
        import os

        def visible() -> int:
            named = os.environ.get("CUDA_VISIBLE_DEVICES")
            return count if named is None else len(named.split(","))

        monkeypatch.setattr(torch.cuda, "device_count", visible)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)

    return report


def test_one_gpu_needs_no_word(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus(1)
    log = Recorder()
    machine.use_one_gpu(log)

    assert log.lines == []


@pytest.mark.parametrize(("before", "used"), [(None, "0"), ("2,3", "2"), ("GPU-7c,GPU-8d", "GPU-7c")])
def test_of_several_gpus_the_first_visible_one_is_used_and_this_is_said(
    gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch, before: str | None, used: str
):
    if before is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # restored afterwards
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
    gpus(2)
    log = Recorder()
    machine.use_one_gpu(log)

    assert torch.cuda.device_count() == 1
    assert log.lines == [
        f"warning: this machine has 2 GPUs and one process uses one of them (CUDA_VISIBLE_DEVICES={used}): a machine "
        "with one GPU trains as fast and costs less"
    ]


def test_the_variable_is_set_before_the_trainer_counts_gpus(
    gpus: Callable[..., None], settings: Make, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    """With two GPUs in sight trl refuses to make a trainer, after data and weights are loaded."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    gpus(2)
    seen: list[int] = []

    def stop(*_: Any) -> None:
        seen.append(torch.cuda.device_count())
        raise TrainingRefused("far enough")

    monkeypatch.setattr("training_code.model.load_tokenizer", stop)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 10**12)
    with pytest.raises(TrainingRefused, match="far enough"):
        train(settings())

    assert seen == [1]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"precision": "bf16"}, "Tesla T4 has no bf16 arithmetic: use precision = fp32"),
        ({"precision": "bf16-autocast"}, "no bf16 arithmetic"),
        ({"method": "qlora", "precision": "fp32"}, "method = qlora needs bitsandbytes"),
        ({"attention": "flash_attention_2"}, "needs the package flash_attn"),
    ],
)
def test_what_a_gpu_or_its_image_lacks_is_refused(
    gpus: Callable[..., None], settings: Make, given: dict[str, Any], says: str
):
    gpus(1, bf16=False)
    with pytest.raises(TrainingRefused, match=says):
        machine.refuse_what_is_missing(settings(**given))


def test_an_old_gpu_trains_in_fp32(gpus: Callable[..., None], settings: Make):
    gpus(1, bf16=False)
    machine.refuse_what_is_missing(settings(precision="fp32"))


def test_the_weights_of_a_file_are_counted_without_loading_them(tiny: Any, tmp_path: Path):
    from safetensors.torch import load_file

    file = tiny() / "model.safetensors"
    assert machine.weights_in(file) == sum(each.numel() for each in load_file(file).values())
    (tmp_path / "cut").write_bytes(b"\x01")
    assert machine.weights_in(tmp_path / "cut") == 0


@pytest.mark.parametrize(
    ("given", "bytes_of_a_weight"),
    [
        ({"method": "full", "precision": "fp32"}, 16),
        ({"method": "full", "precision": "bf16-autocast"}, 16),
        ({"method": "full", "precision": "bf16"}, 8),
        ({"method": "full", "precision": "bf16-autocast", "replay_share": 0.1, "replay_file": "r"}, 18),
        ({"method": "lora", "precision": "bf16"}, 2),
        ({"method": "qlora"}, 0.5),
    ],
)
def test_a_method_needs_so_many_bytes_for_each_weight(settings: Make, given: dict[str, Any], bytes_of_a_weight: float):
    trained = 1000 if given["method"] == "full" else 0
    assert memory.held_bytes(settings(**given), 1000, trained) == 1000 * bytes_of_a_weight


def test_phi35_full_needs_a_gpu_of_80_gb():
    from training_code.settings import build, read_preset

    nowhere = dict.fromkeys(("base_model", "train_file", "validation_file", "output_dir", "replay_file"), ".")
    phi = build({**read_preset("phi35-full"), **nowhere}, "phi35-full")
    weights, embeddings = 3_821_079_552, 2 * 32_064 * 3_072

    assert 72e9 < memory.held_bytes(phi, weights, weights - embeddings) < 75e9


@pytest.mark.parametrize("frozen", [(), ("embeddings",)])
def test_what_needs_more_memory_than_there_is_is_refused_before_it_trains(
    settings: Make, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frozen: tuple[str, ...]
):
    made = settings(method="full", frozen=frozen)
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_000_000)
    with pytest.raises(TrainingRefused, match=r"method = full with precision = fp32 needs at least 0\.0 GB of memory,"):
        train(made)
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_row_that_does_not_fit_is_refused_before_it_trains(
    settings: Make, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from training_code.trainer import Trainer

    made = settings(packing=False)
    sizes: list[int] = []

    def out_of_memory(self: Trainer, model: Any, inputs: dict[str, Any], *_: Any) -> None:
        sizes.append(inputs["input_ids"].numel())
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Trainer, "compute_loss", out_of_memory)
    with pytest.raises(TrainingRefused, match=r"the longest row does not fit .* Nothing was trained"):
        train(made)
    rows = (tmp_path / "out").rglob("*")
    assert not [path for path in rows if path.is_file()]
    longest = trainer_for(made).train_dataset["seq_lengths"]
    assert sizes == [max(map(sum, longest))]


def test_the_trial_checkpoints_activations_as_the_training_will(
    settings: Make, train: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    from training_code import estimate

    seen: list[bool] = []
    timed = estimate.timed_steps

    def look(trainer: Any) -> tuple[int, float]:
        seen.append(trainer.model.is_activation_checkpointing)
        return timed(trainer)

    monkeypatch.setattr(estimate, "timed_steps", look)
    train(settings(gradient_checkpointing=True, epochs=1))

    assert seen == [True]
