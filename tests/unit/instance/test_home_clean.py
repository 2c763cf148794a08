"""A clean of a home with five shipped versions: what goes, what stays, and what `phi why` tells afterwards."""

import json
import multiprocessing
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.answer_log import AnswersUnreadable
from phi_assets.backends import content_store
from phi_assets.backends.select import build_resources
from phi_assets.cli.ask import ask_deployed
from phi_assets.cli.main import main
from phi_assets.instance import home
from phi_assets.instance.home_clean import clean
from phi_assets.models.champions import CannotPromote
from phi_assets.settings import current
from tests.unit.cli.test_why import QUESTION, conversations, ship

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
VERSIONS = 5


@dg.op(out=dg.Out(dg.Nothing))
def nothing() -> None:
    """Make nothing."""


@dg.job
def quiet_job() -> None:
    nothing()


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The answer of the first of five versions, and the id of a run that made nothing, in a home that keeps little."""
    folder = tmp_path_factory.mktemp("home")
    given = {
        "PHI_HOME": str(folder / "home"),
        "PHI_DATASET": str(folder / "raw.jsonl"),
        "PHI_NEAR_DUPLICATE_THRESHOLD": "1",
        "PHI_KEEP_MODELS": "1",
        "PHI_KEEP_DAYS": "0",
        "PHI_KEEP_QUIET_DAYS": "0",
    }
    with pytest.MonkeyPatch.context() as patched:
        (folder / "raw.jsonl").write_text(conversations(1), encoding="utf-8")
        for name, value in given.items():
            patched.setenv(name, value)
        current.cache_clear()
        try:
            with home.instance(current()) as instance:
                ship(instance, current(), folder, 1)
                answer = ask_deployed(current(), QUESTION)
                for version in range(2, VERSIONS + 1):
                    ship(instance, current(), folder, version)
                quiet = quiet_job.execute_in_process(instance=instance).run_id
            yield answer, quiet
        finally:
            build_resources(current())["endpoint_host"].stop(print)
    current.cache_clear()


def told(capsys, *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def with_weights() -> set[str]:
    found = (current().state / "models").glob("*/model/model.safetensors")
    return {path.parent.parent.name[0] for path in found}


def datasets() -> set[str]:
    return {path.name for path in (current().state / "datasets").iterdir() if path.is_dir()}


def files() -> set[str]:
    found = (path for path in current().state.rglob("*") if path.is_file())
    return {str(path) for path in found if path.suffix != ".lock" and path.name != "versions.json"}


def test_a_dry_run_lists_with_reasons_and_removes_nothing(shipped, capsys):
    before = files()

    rows = told(capsys, "clean", "--dry-run")

    assert files() == before
    weights = [each for each in rows if each["kind"] == "weights"]
    assert {each["name"][0] for each in weights} == {"1", "2", "3"}
    assert all(each["bytes"] > 1_000 for each in weights)
    assert {each["reason"] for each in weights} == {"neither serves nor is one of the 1 newest models"}


def test_a_run_under_way_is_waited_for(shipped, capsys):
    with home.instance(current()) as instance:
        run = instance.create_run_for_job(quiet_job, status=dg.DagsterRunStatus.STARTED)
    capsys.readouterr()

    assert main(["clean"]) == 1
    assert f"run {run.run_id[:8]} (quiet_job) is under way; clean after it" in capsys.readouterr().err
    with home.instance(current()) as instance:
        instance.delete_run(run.run_id)


def test_while_a_command_works_on_the_home_nothing_is_cleaned(shipped, capsys):
    with home.only_one(current(), "run"):
        assert main(["clean"]) == 1
    assert "another `phi run`" in capsys.readouterr().err


def test_an_answer_log_that_cannot_be_read_stops_the_clean(shipped, monkeypatch):
    def damaged(_self):
        raise AnswersUnreadable("answers.sqlite: damaged")

    monkeypatch.setattr("phi_assets.instance.home_clean.Answers.models", damaged)
    with home.instance(current()) as instance, pytest.raises(AnswersUnreadable):
        clean(instance, current(), build_resources(current()), print)
    assert with_weights() == set("12345")


def test_a_clean_keeps_what_serves_and_what_explains(shipped, capsys):
    _, quiet = shipped
    rows = told(capsys, "clean")

    assert with_weights() == {"4", "5"}
    assert len(datasets()) == 3  # of the champion, of the former one, and of the answer's
    assert {each["kind"] for each in rows} >= {"weights", "model", "dataset", "run"}
    assert not any(each["error"] for each in rows)
    with home.instance(current()) as instance:
        assert instance.get_run_by_id(quiet) is None
        assert not list((current().dagster_home / "history" / "runs").glob(f"{quiet}*"))
        for asset in ("fine_tuned_model", "online_deployment", "registered_model"):
            assert instance.get_latest_materialization_event(dg.AssetKey(asset))


def test_the_answer_is_explained_as_before(shipped, capsys):
    answer, _ = shipped
    found = told(capsys, "why", answer["id"])

    assert found["notes"] == []
    assert (found["answer"]["model_version"], found["model_digest"]) == ("1", "1" * 64)
    assert (found["trained"]["run"], found["trained"]["code_version"]) == (answer["dagster_run"], "code1")
    assert found["deployed"]["at"] <= found["answer"]["at"]
    assert len(found["nearest"]) == 3
    with home.instance(current()) as instance:
        assert instance.get_run_by_id(found["trained"]["run"])
        assert instance.get_run_by_id(found["deployed"]["run"])


def test_a_second_clean_finds_nothing(shipped, capsys):
    assert told(capsys, "clean") == []


def test_to_promote_a_cleaned_version_says_when_it_was_cleaned_and_how_to_train_it_again(shipped, capsys):
    registry = build_resources(current())["registry"]
    first = registry.version("1")

    with pytest.raises(CannotPromote) as refused:
        registry.promote("1", "a test", "run")

    said = str(refused.value.description)
    assert "version 1 cannot be served, its weights were cleaned on 20" in said
    assert f"start job `retrain` with dataset {first.dataset_digest}" in said
    assert said.endswith("or `phi promote` one that has them: 5, 4")
    assert registry.champion().version == str(VERSIONS)
    cleaned = {each["model"]["version"] for each in told(capsys, "models") if each["cleaned"]}
    assert cleaned == {"1", "2", "3"}


def test_the_deployment_still_answers(shipped):
    assert ask_deployed(current(), "Hello?")["model_version"] == str(VERSIONS)


def test_the_job_reports_what_it_removed(shipped):
    from phi_assets.definitions import definitions

    leftover = current().state / "training" / "a-recipe"
    for name in ("older", "newest"):
        (leftover.with_name(name)).mkdir(parents=True)
        (leftover.with_name(name) / "checkpoint").write_bytes(b"x" * 2_000_000)
    job = definitions().resolve_job_def("clean")
    with home.instance(current()) as instance:
        done = job.execute_in_process(instance=instance)

    (output,) = [event for event in done.all_events if event.event_type_value == "STEP_OUTPUT"]
    data: Any = output.event_specific_data
    shown: Any = data.metadata
    assert shown["freed_mb"].value >= 2.0
    assert shown["removed"].value["checkpoints"] == 1
    assert re.search(r"\| checkpoints \| \w+ \| 2.0 \| of a training that was interrupted", shown["largest"].value)


def one_clean(results) -> None:
    results.put(main(["clean"]))


def test_two_cleans_at_once_do_no_harm(shipped):
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    both = [spawn.Process(target=one_clean, args=(results,)) for _ in range(2)]
    for each in both:
        each.start()
    codes = sorted(results.get(timeout=120) for _ in both)
    for each in both:
        each.join(60)

    assert codes in ([0, 0], [0, 1])  # the second may find the lock held
    assert with_weights() == {"4", "5"}
    assert Path(content_store.place(current().state / "models", "1" * 64) / content_store.RECORD).is_file()
