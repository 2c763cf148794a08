"""The size of a step follows from the data: how many steps each preset makes, and what is said before the start."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_code import sizing
from training_code.chat_template import Tokens
from training_code.settings import PRESETS, Settings, build, read_preset

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")
DEFAULT_DATA = Path(__file__).parents[3] / "data" / "support" / "conversations.jsonl"
FITTED = sorted(path.stem for path in PRESETS.glob("*.yaml") if "comparison" not in read_preset(path.stem))
NOWHERE = dict.fromkeys(("base_model", "train_file", "validation_file", "output_dir"), ".")


def preset(name: str, **changes: Any) -> Settings:
    return build({**read_preset(name), **NOWHERE, **changes}, name)


@pytest.fixture(scope="module")
def default_rows() -> list[Tokens]:
    """The training split's share of the default data: four characters to a token, ten tokens more for each turn."""
    lines = DEFAULT_DATA.read_text(encoding="utf-8").splitlines()[: 300 * 8 // 10]
    texts = [[turn["content"] for turn in json.loads(line)["messages"]] for line in lines]
    lengths = [sum(len(text) // 4 + 10 for text in turns) for turns in texts]
    assert 15_000 < sum(lengths) < 25_000
    return [Tokens([1] * length, [True] * length) for length in lengths]


def steps_of(settings: Settings, rows: list[Tokens]) -> tuple[int, int]:
    """Steps by the packed rows, and as expected before packing."""
    from training_code.data import as_dataset

    own = sum(len(row.ids) for row in rows)
    tokens = sizing.epoch_tokens(own, settings.replay_share)
    conversations = round(len(rows) * tokens / own)
    fitted = sizing.fitted(settings, tokens=tokens, rows=conversations)
    packed = as_dataset(rows, packing=fitted.packing, packed_length=fitted.packed_length, seed=0)
    rows_per_epoch = round(len(packed) * tokens / own)
    return sizing.steps_of(fitted, rows_per_epoch), sizing.expected_steps(settings, tokens, conversations)[0]


@pytest.mark.parametrize("name", FITTED)
def test_every_preset_makes_a_hundred_steps_of_the_default_data(name: str, default_rows: list[Tokens]):
    steps, expected = steps_of(preset(name), default_rows)

    assert steps >= 100
    assert expected == pytest.approx(steps, rel=0.15)


def test_the_laptop_trains_the_default_data_as_it_was_tuned():
    tuned = preset("laptop")
    tokens = sizing.epoch_tokens(22_209, tuned.replay_share)

    assert sizing.fitted(tuned, tokens=tokens, rows=369) == tuned
    assert (tuned.packed_length, tuned.batch_size, tuned.accumulation) == (256, 1, 1)


def test_the_guides_preset_keeps_its_values_and_says_what_it_is():
    guide = preset("guide-phi35-full")
    fitted = sizing.fitted(guide, tokens=22_209, rows=240)
    plan = sizing.plan(fitted, steps=9, rows=12, tokens=22_209, longest=175, device="a GPU")

    assert fitted == guide
    assert "Microsoft's guide" in plan.note
    assert plan.warning == ""


def test_much_data_gets_the_largest_steps_of_the_preset():
    wanted = preset("phi35-lora")

    assert sizing.fitted(wanted, tokens=27_500_000, rows=20_000) == wanted


@pytest.mark.parametrize(
    ("tokens", "length", "rows"),
    # Three epochs in 200 steps: a step has 1.5% of an epoch.
    [(1_000_000, 2048, 7), (273_067, 2048, 2), (136_000, 1024, 1), (30_000, 256, 1), (500, 128, 1)],
)
def test_rows_are_halved_before_a_step_gets_a_single_one(tokens: int, length: int, rows: int):
    fitted = sizing.fitted(preset("phi35-lora"), tokens=tokens, rows=100)

    assert (fitted.packed_length, fitted.batch_size * fitted.accumulation) == (length, rows)


def test_a_batch_is_no_larger_than_a_step():
    wanted = preset("phi35-lora", batch_size=4, accumulation=4)
    small = sizing.fitted(wanted, tokens=273_067, rows=100)
    larger = sizing.fitted(wanted, tokens=1_000_000, rows=100)

    assert (small.batch_size, small.accumulation) == (2, 1)
    assert (larger.batch_size, larger.accumulation) == (4, 1)


def test_unpacked_rows_are_counted_by_conversation():
    wanted = preset("phi35-lora", packing=False)

    assert sizing.fitted(wanted, tokens=10**9, rows=270).accumulation == 4
    assert sizing.fitted(wanted, tokens=10**9, rows=10).accumulation == 1


def test_without_target_steps_a_preset_is_taken_as_it_is():
    wanted = preset("phi35-lora", target_steps=None)

    assert sizing.fitted(wanted, tokens=25_000, rows=240) == wanted


@pytest.mark.parametrize(("given", "remedy"), [({}, "add conversations"), ({"target_steps": None}, "set target_steps")])
def test_few_steps_are_warned_about_with_a_remedy(given: dict[str, Any], remedy: str):
    wanted = preset("phi35-lora", **given)
    few, enough = (sizing.plan(wanted, steps=n, rows=9, tokens=999, longest=9, device="") for n in (49, 50))

    assert "49 optimizer steps are few" in few.warning
    assert remedy in few.warning
    assert enough.warning == ""


def test_the_plan_is_said_before_the_start_and_is_in_the_report(
    settings: Callable[..., Settings], train: Callable[..., Any]
):
    made = settings(target_steps=40, packed_length=512, accumulation=4, epochs=4, warmup_share=0.1)
    report, lines = train(made)
    plan = report["plan"]

    assert plan["steps"] == report["steps"] == len(report["losses"])
    assert (plan["packed_length"], plan["accumulation"]) == (128, 1)
    assert plan["warmup_steps"] == round(plan["steps"] * 0.1)
    assert plan["tokens_per_step"] == pytest.approx(4 * report["tokens"]["train"] / plan["steps"], abs=1)
    assert report["config"]["packed_length"] == 512  # as it was given
    said = [n for n, line in enumerate(lines) if f"{plan['steps']} optimizer steps of about" in line]
    assert said
    assert said[0] < min(n for n, line in enumerate(lines) if "steps left, about" in line)


def test_few_steps_are_warned_about_in_the_log_and_no_more_is_read_than_the_model_can(
    settings: Callable[..., Settings], train: Callable[..., Any]
):
    report, lines = train(settings(max_length=1_000_000, max_truncated_share=0.0))
    plan = report["plan"]

    assert plan["max_length"] == 2048
    assert plan["warning"]
    assert [line for line in lines if line.startswith("warning")] == [f"warning: {plan['warning']}"]
