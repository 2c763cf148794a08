"""`phi why` and `phi answers` on a home with four real versions: datasets, registry, servers and Dagster runs."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from phi_assets.answer_log import Answers, AnswersUnreadable, UnknownAnswer, question
from phi_assets.backends import content_store
from phi_assets.backends.select import build_resources, served_model
from phi_assets.cli import ask
from phi_assets.cli.ask import ask_deployed
from phi_assets.cli.main import main
from phi_assets.conversations.quality_checks import read_split
from phi_assets.databases import CHAT_HISTORY
from phi_assets.instance import home
from phi_assets.records import DatasetVersion, Endpoint, Evaluation, ModelVersion, RegisteredModel
from phi_assets.settings import Settings, current
from tests.support.chat_ratings import rated, store
from tests.unit.serving_code.conftest import write_model

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
]

VERSIONS = 4
QUESTION = "How long is the guarantee of product 12?"


def conversations(version: int) -> str:
    """Forty facts that are others in each version."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"How long is product {number} guaranteed?"},
                {
                    "role": "assistant",
                    "content": f"The guarantee of product {number} lasts {10 * number + version} months.",
                },
            ]
        }
        for number in range(10, 50)
    ]
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def trained(
    context: dg.AssetExecutionContext, settings: Settings, folder: Path, dataset: DatasetVersion, version: int
) -> ModelVersion:
    """A model as if trained in this run: its weights are random, where they lie and what names them are not."""
    made = write_model(folder / f"model-{version}" / "model", scale=15.0, seed=version).parent
    model = ModelVersion(
        digest=f"{version}" * 64,
        address=str(content_store.place(settings.state / "models", f"{version}" * 64) / "model"),
        adapter_address=None,
        report_address="report.json",
        dataset_digest=dataset.digest,
        base_digest="b" * 64,
        code_version=f"code{version}",
        preset="tiny",
        training_run=context.run.run_id,
        replay_digest="e" * 64,
    )
    content_store.put(model, content_store.accept(made, settings.state / "models", model.digest))
    return model


def ship(instance: dg.DagsterInstance, settings: Settings, folder: Path, version: int) -> None:
    """A new version, published, registered and deployed by the ports, in a training run and a run of its deployment."""
    (folder / "raw.jsonl").write_text(conversations(version), encoding="utf-8")
    ports = build_resources(settings)
    dataset = ports["dataset_store"].publish(print)

    @dg.asset(code_version=f"code{version}")
    def fine_tuned_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult[ModelVersion]:
        model = trained(context, settings, folder, dataset, version)
        return dg.MaterializeResult(value=model, metadata={"preset": model.preset})

    @dg.asset
    def registered_model(fine_tuned_model: ModelVersion) -> dg.MaterializeResult[RegisteredModel]:
        champion = ports["registry"].champion()
        evaluation = Evaluation(
            digest="e" * 64,
            address="",
            model_digest=fine_tuned_model.digest,
            dataset_digest=dataset.digest,
            champion=champion and f"{champion.name}/{champion.version}",
        )
        return dg.MaterializeResult(value=ports["registry"].register(fine_tuned_model, evaluation, {}))

    @dg.asset
    def online_endpoint() -> dg.MaterializeResult[Endpoint]:
        return dg.MaterializeResult(value=ports["endpoint_host"].ensure_endpoint(print))

    made = [fine_tuned_model, registered_model, online_endpoint]
    assert dg.materialize(made, resources=ports, instance=instance).success
    from phi_assets.definitions import definitions

    parts: Any = definitions().assets
    done = dg.materialize(parts, selection=["online_deployment"], resources=ports, instance=instance)
    assert done.success


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """The settings, and the answer of the first of four versions."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        given = {
            "PHI_HOME": str(folder / "home"),
            "PHI_DATASET": str(folder / "raw.jsonl"),
            "PHI_NEAR_DUPLICATE_THRESHOLD": "1",
        }
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
            yield current(), answer
        finally:
            build_resources(current())["endpoint_host"].stop(print)
    current.cache_clear()


def told(capsys, *arguments: str) -> Any:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 1
    return capsys.readouterr().err


def test_an_answer_from_before_three_retrainings_still_names_its_model_and_its_data(asked, capsys):
    settings, answer = asked
    found = told(capsys, "why", answer["id"])

    first = ModelVersion.from_json(
        (content_store.place(settings.state / "models", "1" * 64) / content_store.RECORD).read_text(encoding="utf-8")
    )
    assert ask_deployed(settings, "Hello?")["model_version"] == str(VERSIONS)
    assert (found["answer"]["model_version"], found["model_state"]) == ("1", "former")
    assert found["model_digest"] == "1" * 64
    assert found["trained"]["run"] == first.training_run
    assert found["dataset"]["digest"] == first.dataset_digest
    assert (found["trained"]["code_version"], found["trained"]["preset"]) == ("code1", "tiny")
    assert (found["question"], found["answer"]["answer"]) == (QUESTION, answer["answer"])
    assert found["notes"] == []


def test_it_names_the_run_that_deployed_the_version_and_not_a_later_one(asked, capsys):
    settings, answer = asked
    found = told(capsys, "why", answer["id"])

    with home.instance(settings) as instance:
        records = instance.fetch_materializations(dg.AssetKey("online_deployment"), limit=10).records
    assert len(records) == VERSIONS
    assert found["deployed"]["run"] == records[-1].run_id
    assert found["deployed"]["at"] <= found["answer"]["at"]


def test_the_nearest_conversations_are_those_of_its_own_dataset_version(asked, capsys):
    settings, answer = asked
    store = build_resources(settings)["dataset_store"]
    found = told(capsys, "why", answer["id"])
    folder = store.folder(store.find(found["dataset"]["digest"]))

    assert len(found["nearest"]) == 3
    assert {near["id"] for near in found["nearest"]} <= {row["id"] for row in read_split(folder, "train")}
    assert all(near["answer"].endswith("1 months.") for near in found["nearest"])


def test_a_laptop_keeps_what_was_asked_by_the_command_once_and_no_smoke_test(asked, capsys):
    _, answer = asked
    listed = told(capsys, "answers", "-n", "50")

    assert [each["id"] for each in listed].count(answer["id"]) == 1
    assert {each["question"] for each in listed} <= {QUESTION, "Hello?"}


def test_where_the_servers_keep_nothing_the_command_keeps_what_it_asked(asked, monkeypatch):
    settings, _ = asked
    monkeypatch.setattr(
        ask, "served_model", lambda _: replace(served_model(settings), keeps_answers=False)
    )  # as on Azure
    answer = ask_deployed(settings, "Hello?")

    by_route = {each.route: each for each in Answers(settings.state, 90).find(answer["id"])}
    own = by_route["phi ask"]
    assert (own.answer, own.model_version, own.model_digest) == (answer["answer"], str(VERSIONS), f"{VERSIONS}" * 64)
    assert own.messages == [{"role": "user", "content": "Hello?"}]


def test_the_newest_answer_may_be_one_of_the_chat_page(tmp_path):
    store(tmp_path / CHAT_HISTORY, [rated("Who?", "First.")])
    time.sleep(0.01)
    store(tmp_path / CHAT_HISTORY, [rated("Where?", "Second.", number=2)])
    kept = Answers(tmp_path, 90)

    last = kept.last()

    assert (question(last), last.answer, last.model_version) == ("Where?", "Second.", "3")
    kept.keep(replace(last, id="chatcmpl-later", answer="Third.", at=last.at + 1))
    assert kept.last().answer == "Third."


def test_with_zero_days_the_command_keeps_none_and_forgets_those_there(tmp_path, asked):
    settings, answer = asked
    (given,) = Answers(settings.state, 90).find(answer["id"])
    Answers(tmp_path, 90).keep(given)

    Answers(tmp_path, 0).keep(given)

    assert Answers(tmp_path, 0).newest(5) == []
    with pytest.raises(UnknownAnswer, match="PHI_KEEP_ANSWERS_DAYS is 0, so none are kept"):
        Answers(tmp_path, 0).last()


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"no database " * 1000)

    with pytest.raises(AnswersUnreadable, match="not a database; move it away"):
        Answers(tmp_path, 90).newest(5)


def test_a_person_reads_the_path_and_that_likeness_proves_nothing(asked, capsys):
    _, answer = asked
    capsys.readouterr()

    assert main(["why", answer["id"]]) == 0
    said = capsys.readouterr().out
    assert "phi-chat 1, former, digest 111111111111" in said
    assert "conversations of the base, digest eeeeeeeeeeee" in said
    assert "This is similarity, not proof" in said
    assert "`phi dev` starts it" in said


@pytest.mark.documented("phi why --last")
def test_the_last_answer_is_the_newest(asked, capsys):
    newest = told(capsys, "answers", "-n", "1")[0]

    assert told(capsys, "why", "--last")["answer"]["id"] == newest["id"]


def test_an_unknown_id_is_answered_with_how_long_and_which_are_kept(asked, capsys):
    settings, _ = asked
    newest = Answers(settings.state, 90).last().id
    said = refused(capsys, "why", "chatcmpl-none")

    assert "no answer 'chatcmpl-none' is kept; answers are kept for 90 days (PHI_KEEP_ANSWERS_DAYS)" in said
    assert f"; the newest: {newest}" in said


def test_neither_an_id_nor_last_is_wrong_usage(capsys):
    assert main(["why"]) == 2
    assert "or --last" in capsys.readouterr().err


def test_an_answer_of_the_base_model_is_said_to_be_one(asked, capsys):
    settings, answer = asked
    (given,) = Answers(settings.state, 90).find(answer["id"])
    Answers(settings.state, 90).keep(replace(given, id="base-1", route="base", model_name="pypi:some"))

    assert "base-1 is an answer of the base model pypi:some" in refused(capsys, "why", "base-1")


def test_of_two_answers_under_one_id_the_newest_is_told_and_the_other_is_named(asked, capsys):
    settings, answer = asked
    kept = Answers(settings.state, 90)
    (given,) = kept.find(answer["id"])
    for text in ("first", "second"):
        kept.keep(replace(given, id="chatcmpl-chosen", answer=text))
    older = kept.find("chosen")[1]

    assert told(capsys, "why", "chosen")["answer"]["answer"] == "second"
    assert told(capsys, "why", f"row:{older.number}")["answer"]["answer"] == "first"
    main(["why", "chosen"])
    assert f"phi why row:{older.number}" in capsys.readouterr().out


def test_an_answer_from_before_the_registry_was_begun_anew_goes_by_its_model_s_digest(asked, capsys):
    settings, answer = asked
    kept = Answers(settings.state, 90)
    (given,) = kept.find(answer["id"])
    kept.keep(replace(given, id="other-number", model_version="99"))
    kept.keep(replace(given, id="other-model", model_version="2"))

    for answer_id, note in (
        ("other-number", "the registry has no phi-chat 99 any more"),
        ("other-model", "the registry's phi-chat 2 is another model by now, 222222222222"),
    ):
        found = told(capsys, "why", answer_id)
        assert found["notes"][0].startswith(note)
        assert found["trained"]["run"] == answer["dagster_run"]
        assert (found["trained"]["code_version"], found["model_state"], found["deployed"]) == ("code1", "", None)


def test_the_job_shows_the_same_path_with_links(asked):
    settings, answer = asked
    from phi_assets.definitions import definitions

    job = definitions().resolve_job_def("why")
    with home.instance(settings) as instance:
        config = {"ops": {"trace_answer": {"config": {"answer": answer["id"]}}}}
        done = job.execute_in_process(run_config=config, instance=instance)
    (output,) = [event for event in done.all_events if event.event_type_value == "STEP_OUTPUT"]
    shown: Any = output.event_specific_data.metadata
    assert shown["training_run"] == dg.MetadataValue.dagster_run(answer["dagster_run"])
    assert shown["chat_dataset"] == dg.MetadataValue.asset(dg.AssetKey("chat_dataset"))
    assert f"/runs/{answer['dagster_run']}" in shown["path"].value
    assert "not proof" in shown["nearest_conversations"].value


def test_the_job_fails_in_words_for_an_unknown_answer(asked):
    settings, _ = asked
    from phi_assets.definitions import definitions

    job = definitions().resolve_job_def("why")
    with home.instance(settings) as instance:
        config = {"ops": {"trace_answer": {"config": {"answer": "none"}}}}
        done = job.execute_in_process(run_config=config, instance=instance, raise_on_error=False)
    (failure,) = done.get_step_failure_events()
    assert "no answer 'none' is kept" in failure.step_failure_data.user_failure_data.description


def test_a_dataset_version_that_is_gone_is_named_and_the_rest_of_the_path_still_told(asked, capsys):
    settings, answer = asked
    digest = told(capsys, "why", answer["id"])["trained"]["dataset_digest"]
    shutil.rmtree(settings.state / "datasets" / digest)

    found = told(capsys, "why", answer["id"])
    assert found["nearest"] == []
    assert found["notes"] == [
        f"dataset version {digest[:12]} is gone from disk, so that its conversations cannot be compared with the answer"
    ]
    assert found["trained"]["run"] == answer["dagster_run"]


def test_a_model_whose_files_are_gone_is_still_named(asked, capsys):
    settings, answer = asked
    shutil.rmtree(content_store.place(settings.state / "models", "1" * 64))

    found = told(capsys, "why", answer["id"])
    assert found["model_digest"] == "1" * 64
    assert "the model's files are gone; its training is told from Dagster's event log" in found["notes"]
    assert (found["trained"]["code_version"], found["trained"]["preset"]) == ("code1", "tiny")
