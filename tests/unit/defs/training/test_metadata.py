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
