"""The page of the fine-tuned model: what was said before the training started."""

import json
from pathlib import Path

from phi_assets.defs.training.metadata import describe_training
from tests.support.fake_records import a_model
from tests.support.reported_texts import PIXEL
from training_code.sizing import Plan

PLAN = Plan(
    steps=9,
    tokens_per_step=7403,
    warmup_steps=2,
    rows_per_epoch=12,
    longest_conversation=175,
    max_length=4096,
    packed_length=2048,
    batch_size=1,
    accumulation=4,
    device="NVIDIA A100 80GB PCIe",
    warning="9 optimizer steps are few to learn from",
)


def write(folder: Path, **report: object) -> Path:
    (folder / "loss_curve.png").write_bytes(PIXEL)
    (folder / "report.json").write_text(json.dumps({"tokens": {}, "losses": [], "seconds": 1.0, **report}))
    return folder


def test_the_plan_and_its_warning_are_on_the_page(tmp_path: Path):
    found = describe_training(a_model("d", ""), write(tmp_path, plan=PLAN.as_json()))

    table = found["plan"].value
    for name, value in (("steps", 9), ("tokens_per_step", 7403), ("warmup_steps", 2)):
        assert f"| {name} | {value} |" in table
    assert "9 optimizer steps are few" in found["warning"].value
    assert "note" not in found


def test_a_report_of_an_earlier_release_has_no_plan(tmp_path: Path):
    assert "plan" not in describe_training(a_model("d", ""), write(tmp_path))


COUNTS = {"train": 40, "held_out": 20, "held_out_share": 1 / 3, "left_out": {"too_long": 2}}
DONE = {
    "pairs": COUNTS,
    "not_done": "",
    "steps": 30,
    "preferred_before": 0.25,
    "preferred_after": 0.9,
    "preferred_by": "log-probability per token",
    "losses": [{"step": 1, "loss": 0.693}],
}


def test_the_page_says_what_preference_training_did(tmp_path: Path):
    folder = write(tmp_path, preference=DONE)
    (folder / "preference_curve.png").write_bytes(PIXEL)
    found = describe_training(a_model("d", ""), folder)

    table = found["preference_training"].value
    for row in (
        "| pairs learned | 40 |",
        "| pairs held out | 20 (33%) |",
        "| pairs left out | 2 too long |",
        "| preferred means | likelier by log-probability per token |",
        "| chosen preferred before | 25% of the pairs held out |",
        "| chosen preferred after | 90% of the pairs held out |",
    ):
        assert row in table
    assert (found["preferred_before"].value, found["preferred_after"].value) == (0.25, 0.9)
    assert "preference_curve" in found
    assert "losses" not in found["report"].value["preference"]


def test_the_page_says_why_there_was_no_preference_training(tmp_path: Path):
    given = {"pairs": {**COUNTS, "train": 9, "held_out": 0, "held_out_share": 0.0}, "not_done": "there are 9 pairs"}
    found = describe_training(a_model("d", ""), write(tmp_path, preference=given))
    assert "| not done | there are 9 pairs |" in found["preference_training"].value
    assert "| pairs learned | 0 |" in found["preference_training"].value
    assert "preferred_before" not in found


def test_without_it_the_page_says_nothing_of_preferences(tmp_path: Path):
    assert not [name for name in describe_training(a_model("d", ""), write(tmp_path)) if name.startswith("prefer")]
