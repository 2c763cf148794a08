"""The program as a process: its files, exit codes and imports."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evaluation_code.__main__ import main
from phi_assets.backends.local.evaluation.evaluator import CHILD
from tests.support.tiny_world import chat, product_pairs, write_lines, write_split
from tests.unit.evaluation_code.conftest import World

ROOT = Path(__file__).resolve().parents[3]


def run(world: World, out: Path, *more: str, tuned: Path | None = None) -> dict[str, Any]:
    arguments = ["--base", str(world.base), "--tuned", str(tuned or world.good), "--output_dir", str(out)]
    assert main([*arguments, "--test_file", str(world.test_file), *more]) == 0
    return json.loads((out / "evaluation.json").read_text())


def test_it_writes_the_numbers_the_rows_and_the_picture(world: World, tmp_path: Path):
    report = run(world, tmp_path, "--questions", str(world.questions), "--general", str(world.general))
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows].count("test") == report["test_split"]["rows"] == 24
    assert sum(row["tuned"]["right"] for row in rows if row["kind"] == "question") == 24
    total = sum(row["base"]["bits"] for row in rows if row["kind"] == "test")
    size = report["models"]["base"]["content_bytes"]
    assert report["models"]["base"]["bits_per_byte"] == pytest.approx(total / size)
    assert (tmp_path / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_bytes(world: World, tmp_path: Path):
    run(world, tmp_path / "first", "--questions", str(world.questions), "--seed", "3")
    run(world, tmp_path / "second", "--questions", str(world.questions), "--seed", "3")
    for name in ("evaluation.json", "rows.jsonl"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_without_questions_the_test_split_alone_decides(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    report = run(world, tmp_path)
    assert report["questions"] == {
        "count": 0,
        "with_history": 0,
        "note": "no evaluation questions: the test split alone decides",
    }
    assert report["models"]["tuned"]["questions"] is None
    assert "no evaluation questions: the test split alone decides" in capsys.readouterr().out
    assert (tmp_path / "evaluation.png").is_file()


def test_questions_that_hold_their_own_answer_are_told_of(world: World, tmp_path: Path):
    turn = {"role": "user", "content": "Is lamp Ba red or blue?"}
    weak = write_lines(tmp_path / "weak.jsonl", [{"messages": [turn], "answers": ["red"]}])
    report = run(world, tmp_path, "--questions", str(weak))
    assert report["questions"]["note"] == "1 of 1 evaluation questions hold their own answer: repeating them is enough"


def test_the_champion_is_rescored_on_what_it_did_not_train_on(world: World, tmp_path: Path):
    seen = write_split(tmp_path / "train.jsonl", product_pairs()[:2])
    report = run(world, tmp_path / "out", "--champion", str(world.good), "--champion_train_file", str(seen))
    comparison = report["comparisons"]["champion"]
    assert (comparison["rows"], comparison["groups"], comparison["left_out_rows"]) == (22, 22, 2)
    # One folder under two names is the same model.
    assert comparison["difference"] == comparison["lower"] == comparison["upper"] == 0
    assert report["models"]["champion"] == report["models"]["tuned"]


def test_the_champion_is_compared_with_apart_on_what_it_was_tested_on(world: World, tmp_path: Path):
    seen = write_split(tmp_path / "train.jsonl", product_pairs()[:2])
    tested = write_split(tmp_path / "test.jsonl", product_pairs()[1:6])
    champion = ["--champion", str(world.good), "--champion_train_file", str(seen)]

    without = run(world, tmp_path / "without", *champion)
    report = run(world, tmp_path / "with", *champion, "--champion_test_file", str(tested))

    assert without["comparisons"]["champion_on_its_own_test"] is None
    # Of those five, the one that it trained on too is left out.
    assert report["comparisons"]["champion_on_its_own_test"]["rows"] == 4
    assert report["comparisons"]["champion"] == without["comparisons"]["champion"]


def test_results_of_an_earlier_run_do_not_outlive_a_failed_one(world: World, tmp_path: Path):
    run(world, tmp_path)
    bad = write_lines(tmp_path / "bad.jsonl", [{"messages": chat("a", "b"), "answers": ["b"]}])
    arguments = ["--base", str(world.base), "--tuned", str(world.good), "--test_file", str(world.test_file)]
    assert main([*arguments, "--questions", str(bad), "--output_dir", str(tmp_path)]) == 2
    assert not (tmp_path / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--tuned", "{tmp}/nowhere"], "nowhere has no config.json"),
        (["--tuned", "{good}", "--test_file", "{tmp}/nowhere.jsonl"], "cannot read"),
        (["--tuned", "{good}", "--questions", "{tmp}/nowhere.jsonl"], "cannot read"),
    ],
)
def test_an_unusable_input_ends_in_one_clear_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
):
    more = [part.format(tmp=tmp_path, good=world.good) for part in more]
    arguments = ["--base", str(world.base), "--test_file", str(world.test_file), "--output_dir", str(tmp_path / "out")]
    assert main([*arguments, *more]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("evaluation stopped: ")
    assert message in line


@pytest.mark.parametrize(
    "more", [["--champion", "x"], ["--champion_train_file", "x"], ["--batch_size", "0"], ["--seed", "x"]]
)
def test_options_that_do_not_fit_together_are_refused(more: list[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["--base", "b", "--tuned", "t", "--test_file", "f", "--output_dir", "o", *more])
    assert stopped.value.code == 2


def test_it_runs_bare_and_its_help_needs_neither_torch_nor_dagster():
    code = (
        "import sys, evaluation_code.__main__ as program\n"
        "try:\n    program.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'dagster', 'dagster_pipes', 'phi_assets'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "--champion_train_file" in ended.stdout


def test_it_does_not_outlive_the_process_that_it_works_for():
    command = [sys.executable, "-m", CHILD, "--base", "b", "--tuned", "t", "--test_file", "f"]
    environment = {**os.environ, "PHI_LIFELINE": f"{os.getpid()}:long ago"}
    ended = subprocess.run(
        [*command, "--output_dir", "o"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode not in {0, 2}
    assert f"process {os.getpid()}" in ended.stderr


@pytest.mark.integration
# Dagster's own Pipes client reads both.
@pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*expected_writer_count")
def test_under_pipes_its_progress_and_its_errors_reach_the_run_log(world: World, tmp_path: Path):
    import dagster as dg

    command = [sys.executable, "-m", "evaluation_code", "--base", str(world.base), "--tuned", str(world.good)]
    command += ["--test_file", str(world.test_file), "--output_dir", str(tmp_path / "out")]

    @dg.asset
    def evaluation(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        return pipes.run(command=command, context=context, cwd=str(ROOT)).get_materialize_result()

    @dg.asset
    def failing(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        wrong = [*command, "--questions", "nowhere.jsonl"]
        return pipes.run(command=wrong, context=context, cwd=str(ROOT)).get_materialize_result()

    def log_of(asset: dg.AssetsDefinition) -> tuple[bool, str]:
        with dg.DagsterInstance.ephemeral() as instance:
            resources = {"pipes": dg.PipesSubprocessClient()}
            result = dg.materialize([asset], instance=instance, resources=resources, raise_on_error=False)
            return result.success, "\n".join(entry.user_message for entry in instance.all_logs(result.run_id))

    passed, log = log_of(evaluation)
    assert passed
    assert "tuned: scoring 24 test conversations" in log
    assert "tuned - base: -" in log
    passed, log = log_of(failing)
    assert not passed
    assert "cannot read nowhere.jsonl" in log


def test_one_file_alone_knows_of_pipes_and_none_of_the_orchestrator():
    imports = {
        path.name: [line for line in path.read_text().splitlines() if line.strip().startswith(("import ", "from "))]
        for path in (ROOT / "evaluation_code").glob("*.py")
    }
    assert [name for name, lines in imports.items() if any("dagster_pipes" in line for line in lines)] == ["pipes.py"]
    assert not any("phi_assets" in line or line.split()[1] == "dagster" for lines in imports.values() for line in lines)
