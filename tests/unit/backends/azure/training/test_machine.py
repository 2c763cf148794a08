"""What a VM size cannot train is refused before a job is paid for."""

from typing import Any

import dagster as dg
import pytest

from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.training.trainer import require_machine
from phi_assets.models import recipes

PHI = 3_821_079_552  # weights of Phi-3.5-mini


def warnings(size: str, preset: str, **changes: Any) -> list[str]:
    said: list[str] = []
    require_machine(size, recipes.of(preset, changes), PHI, said.append)
    return said


@pytest.mark.parametrize("preset", ["phi35-lora", "phi35-full", "phi4-mini-lora", "guide-phi35-full"])
def test_an_a100_trains_every_preset_of_phi(preset: str):
    assert warnings("Standard_NC24ads_A100_v4", preset) == []


@pytest.mark.parametrize(
    ("preset", "changes", "said"),
    [
        ("phi35-lora", {}, []),
        ("phi35-full", {}, []),
        (
            "phi35-lora",
            {"processes": 1},
            ["standard_nc48ads_a100_v4 has 2 GPUs and this training uses 1 of them: a smaller size costs less"],
        ),
        (
            "phi35-lora-dpo",
            {},
            ["standard_nc48ads_a100_v4 has 2 GPUs and this training uses 1 of them: a smaller size costs less"],
        ),
        ("phi35-lora", {"accumulation": 1}, ["phi35-lora accumulation=1: a step has 1 rows for 2 GPUs"]),
    ],
)
def test_of_several_gpus_all_are_used_or_it_is_said(preset: str, changes: dict[str, Any], said: list[str]):
    assert warnings("standard_nc48ads_a100_v4", preset, **changes) == said


@pytest.mark.parametrize("size", ["Standard_NC24ads_A100_v4", "Standard_E16s_v3"])
def test_more_processes_than_gpus_start_no_job(size: str):
    with pytest.raises(dg.Failure, match=r"processes = 3 need a GPU each, and .* no job was started"):
        warnings(size, "phi35-lora", processes=3)


def test_a_machine_without_a_gpu_has_no_qlora():
    with pytest.raises(dg.Failure) as refused:
        warnings("Standard_E16s_v3", "phi35-lora", method="qlora")
    assert "qlora needs a GPU and Standard_E16s_v3 has none" in str(refused.value.description)
    assert not refused.value.allow_retries


@pytest.mark.parametrize(
    ("size", "preset", "changes"),
    [
        ("Standard_D4s_v3", "guide-phi35-full", {}),
        ("Standard_D4s_v3", "phi35-lora", {"precision": "fp32", "method": "full"}),
    ],
)
def test_what_needs_more_memory_than_the_size_has_starts_no_job(size: str, preset: str, changes: dict[str, Any]):
    with pytest.raises(dg.Failure) as refused:
        warnings(size, preset, **changes)
    assert f"{size} (cpu) has 17 GB for one training" in str(refused.value.description)
    assert "no job was started" in str(refused.value.description)


def test_a_size_that_is_not_in_the_table_is_not_judged():
    assert warnings("Standard_ND96isr_H100_v5", "phi35-full") == []


def test_each_size_says_what_one_training_has():
    found = {name: (row.gpus, row.training_bytes // 2**30) for name, row in prices.MACHINES.items()}
    assert found["Standard_NC96ads_A100_v4"] == (4, 80)
    assert found["Standard_E16s_v3"] == (0, 128)
