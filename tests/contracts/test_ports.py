"""The contract of every port, tested on both backends. The tests are in the order of the graph."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from phi_assets import endpoint_client
from phi_assets.errors import ChampionChanged
from phi_assets.model_card import record
from phi_assets.models import champions, recipes
from phi_assets.models.champions import CannotPromote
from phi_assets.models.experiments import Scores
from phi_assets.ports.catalog import Materialised, Verdict
from tests.support.port_chain import Chain, another

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
    # Dagster's own Pipes session uses what Dagster calls a preview, and its own deprecated property.
    pytest.mark.filterwarnings("ignore:.*is currently in preview:dagster_shared.utils.warnings.PreviewWarning"),
    pytest.mark.filterwarnings("ignore:AssetExecutionContext.run_id is deprecated:DeprecationWarning"),
]

STEPS = ("ensure_workspace", "ensure_compute", "ensure_environment")
PORTS = (
    "provisioner",
    "dataset_store",
    "base_model_store",
    "trainer",
    "evaluator",
    "registry",
    "endpoint_host",
    "connection_store",
    "flow_store",
)
UNKNOWN = "0" * 64


@pytest.mark.parametrize("port", PORTS)
def test_an_unknown_digest_is_not_found_and_a_reason_is_given(chain: Chain, port: str):
    assert chain.port(port).find(UNKNOWN) is None
    assert chain.port(port).missing_reason(UNKNOWN)


@pytest.mark.parametrize("step", STEPS)
def test_what_was_ensured_is_the_same_a_second_time_and_is_found(chain: Chain, step: str):
    provisioner = chain.port("provisioner")
    made = getattr(provisioner, step)()

    assert getattr(provisioner, step)() == made
    assert provisioner.find(made.digest) == made


def test_the_place_the_machine_and_the_packages_have_digests_of_their_own(chain: Chain):
    assert len({getattr(chain.port("provisioner"), step)().digest for step in STEPS}) == len(STEPS)


@pytest.mark.guide("venv")
def test_the_packages_of_the_environment_are_those_of_the_lock(chain: Chain):
    assert chain.port("provisioner").differing_packages() == []


def test_the_same_conversations_are_one_version(chain: Chain):
    store = chain.port("dataset_store")

    assert store.publish(print) == chain.dataset
    assert store.find(chain.dataset.digest) == chain.dataset
    assert store.source_fingerprint() == store.source_fingerprint()


def test_a_version_s_folder_holds_the_three_splits(chain: Chain):
    folder = chain.port("dataset_store").folder(chain.dataset)

    for split, rows in chain.dataset.rows.items():
        if split in ("train", "validation", "test"):
            assert len((folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()) == rows


def test_a_base_model_is_resolved_once_and_its_folder_can_be_loaded(chain: Chain):
    store = chain.port("base_model_store")

    assert store.resolve(print) == chain.base
    assert store.find(chain.base.digest) == chain.base
    assert (store.folder(chain.base) / "config.json").is_file()


@pytest.mark.long
def test_a_replay_set_has_the_base_s_answers_and_is_found_elsewhere(chain: Chain):
    store = chain.port("replay_store")

    rows = [json.loads(line) for line in (store.folder(chain.replay) / "replay.jsonl").read_text().splitlines()]

    assert (len(rows), chain.replay.base_digest) == (chain.replay.conversations, chain.base.digest)
    assert rows
    assert all([turn["role"] for turn in row["messages"]] == ["user", "assistant"] for row in rows)
    assert store.find(chain.replay.digest) == chain.replay
    report = json.loads((chain.port("trainer").folder(chain.model) / "report.json").read_text())
    assert report["conversations"]["replay"] > 0


def test_a_model_is_found_with_its_report_and_says_what_it_came_from(chain: Chain):
    trainer = chain.port("trainer")

    assert trainer.find(chain.model.digest) == chain.model
    assert (trainer.folder(chain.model) / "report.json").is_file()
    assert (chain.model.dataset_digest, chain.model.base_digest) == (chain.dataset.digest, chain.base.digest)
    assert chain.model.replay_digest == chain.replay.digest


def test_training_the_same_again_gives_the_same_model(chain: Chain):
    assert chain.train() == chain.model


@pytest.mark.long
def test_a_candidate_is_another_model_and_is_trained_once(chain: Chain):
    trainer = chain.port("trainer")
    recipe = recipes.of(trainer.preset, {"seed": 7, "epochs": 1}, "lucky")

    candidate = chain.train(recipe)

    assert candidate.digest != chain.model.digest
    assert candidate.preset == f"{chain.model.preset} seed=7 epochs=1.0"
    assert chain.train(recipes.of(trainer.preset, {"epochs": 1.0, "seed": 7})) == candidate
    assert trainer.find(chain.model.digest) == chain.model


def test_a_training_is_tracked_once_a_name_and_bears_the_newest_scores(chain: Chain):
    registry, folder = chain.port("registry"), chain.port("trainer").folder(chain.model)
    for tags in ({}, {"phi/candidate": "lucky"}, {"phi/candidate": "lucky"}):
        assert registry.log_training(chain.model, folder, tags)
    scores = Scores(bits_per_byte=1.25, right=None, general_kept=0.5, failed=("enough_evidence", "answers_questions"))

    assert registry.log_evaluation(chain.model, chain.evaluation, scores, "lucky")
    assert registry.log_evaluation(replace(chain.model, digest=UNKNOWN), chain.evaluation, scores) is None

    found = {each.candidate: each for each in registry.trainings()}
    assert len(found) == len(registry.trainings()) == 2
    assert found["lucky"].scores == scores
    assert found[""].scores is None
    assert (found[""].model, found[""].dataset) == (chain.model.digest, chain.dataset.digest)
    assert found[""].settings["learning_rate"] == "0.003"
    assert found[""].minutes
    assert found[""].validation_loss


def test_an_evaluation_is_found_with_its_numbers_and_its_files(chain: Chain):
    evaluator = chain.port("evaluator")

    assert evaluator.find(chain.evaluation.digest) == chain.evaluation
    assert evaluator.report(chain.evaluation)["models"]["tuned"]
    assert (evaluator.folder(chain.evaluation) / "evaluation.json").is_file()
    assert chain.evaluation.model_digest == chain.model.digest


def test_another_machine_finds_what_was_made_and_reads_its_files(chain: Chain):
    elsewhere = chain.elsewhere
    for port, made in (
        ("dataset_store", chain.dataset),
        ("base_model_store", chain.base),
        ("trainer", chain.model),
        ("evaluator", chain.evaluation),
    ):
        found = elsewhere[port].find(made.digest)
        assert replace(found, address=made.address) == made  # an address may name the machine's own copy
        ours, theirs = chain.port(port).folder(made), elsewhere[port].folder(found)
        names = {file.name for file in ours.rglob("*") if file.is_file() and file.suffix in (".json", ".jsonl", ".png")}
        assert {file.name for file in theirs.rglob("*") if file.is_file()} >= names
        assert elsewhere[port].find(made.digest) == found
    assert elsewhere["evaluator"].report(chain.evaluation) == chain.port("evaluator").report(chain.evaluation)
    assert elsewhere["trainer"].remembered(chain.model.digest) == chain.model
    assert elsewhere["trainer"].find(UNKNOWN) is elsewhere["evaluator"].find(UNKNOWN) is None


def test_another_machine_lists_the_same_tracked_trainings(chain: Chain):
    ours, theirs = chain.port("registry").trainings(), chain.elsewhere["registry"].trainings()

    assert ours == theirs
    assert [each.model for each in ours] == [chain.model.digest] * len(ours)


def made(version: str, **others: Any) -> Materialised:
    given = {"code_version": "c1", "inputs": {"grain": "g1"}, "record": {}, "run": "r1", "at": 1.0, **others}
    return Materialised("flour", version, **given)


def test_the_catalog_has_the_last_materialisation_for_every_machine(chain: Chain):
    ours, theirs = chain.port("catalog"), chain.elsewhere["catalog"]
    assert "flour" not in theirs.materialisations()
    assert theirs.latest("flour") is None

    ours.put(made("f1"))
    assert theirs.materialisations()["flour"] == theirs.latest("flour") == made("f1")
    theirs.put(made("f1", run="another", at=2.0))  # the same versions: nothing changes
    assert ours.latest("flour") == made("f1")

    theirs.put(made("f2", inputs={"grain": "g2"}))
    ours.put(made("f3"))
    assert ours.materialisations()["flour"] == theirs.materialisations()["flour"] == made("f3")


def test_a_verdict_is_of_one_version_and_seen_by_every_machine(chain: Chain):
    ours, theirs = chain.port("catalog"), chain.elsewhere["catalog"]
    clean = Verdict(
        "flour", "f1", "clean", True, "no stones, 돌 없음, half an emoji \ud83d", {"stones": 0}, "rules", 1.0
    )
    fine = replace(clean, check="fine", passed=False)
    assert theirs.verdicts("flour", "f1") == {}

    ours.judge([clean])
    theirs.judge([fine, replace(clean, subject="f2", passed=False)])

    assert ours.verdicts("flour", "f1") == theirs.verdicts("flour", "f1") == {"clean": clean, "fine": fine}
    ours.judge([replace(clean, rules="tightened")])
    assert theirs.verdicts("flour", "f1")["clean"].rules == "tightened"


def test_machines_that_write_at_once_lose_no_verdict(chain: Chain):
    catalogs = [chain.port("catalog"), chain.elsewhere["catalog"]]

    def judge(number: int) -> None:
        verdict = Verdict("flour", "together", f"check {number}", True, "", {}, "rules", 1.0)
        catalogs[number % 2].judge([verdict])

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(judge, range(12)))

    assert len(catalogs[0].verdicts("flour", "together")) == 12


def test_there_is_no_champion_before_the_first_and_then_it_is_the_registered_one(chain: Chain):
    registry = chain.port("registry")
    assert registry.champion() is None

    assert chain.registered == registry.champion()
    assert registry.find(chain.registered.digest) == chain.registered


def test_the_champion_registered_again_stays_the_one_version(chain: Chain):
    assert chain.port("registry").register(chain.model, chain.evaluation, {}) == chain.registered


def test_who_compared_with_another_champion_is_not_registered(chain: Chain):
    assert chain.registered
    unknown = replace(chain.model, digest="f" * 64)
    with pytest.raises(ChampionChanged):
        chain.port("registry").register(unknown, another(chain.evaluation), {})


def test_a_registered_version_is_listed_as_champion_and_known_by_its_number(chain: Chain):
    registry = chain.port("registry")
    assert chain.registered

    (only,) = registry.versions()

    assert (only.state, only.model, only.withdrawn) == ("champion", chain.registered, "")
    assert only.promoted_at
    assert only.promoted_who == registry.who() != ""
    assert registry.version(only.number) == chain.registered
    assert registry.version("999") is None


def test_a_champion_without_a_former_one_is_not_withdrawn(chain: Chain):
    registry = chain.port("registry")
    assert chain.registered
    with pytest.raises(CannotPromote, match="no former champion"):
        registry.rollback("a test", "run")
    with pytest.raises(CannotPromote, match="no version '999'"):
        registry.promote("999", "a test", "run")

    assert registry.promote(chain.registered.version, "a test", "run") == chain.registered == registry.champion()


def test_a_card_lies_beside_the_weights_and_is_found_by_its_digest(chain: Chain):
    registry = chain.port("registry")
    picture = chain.port("trainer").folder(chain.model) / "loss_curve.png"

    address = registry.publish_card(chain.registered, "# A card\n", {"loss_curve.png": picture})

    card = record.record(chain.registered, "# A card\n")
    assert registry.card(chain.registered) == "# A card\n"
    assert registry.find(card.digest) == card
    assert address == card.address


@pytest.mark.long
@pytest.mark.timeout(900)  # it trains twice on Azure, after the chain before it
def test_a_clean_sees_what_was_made_and_of_unneeded_weights_it_leaves_the_record_and_the_card(chain: Chain):
    retention, trainer = chain.port("retention"), chain.port("trainer")
    assert chain.registered
    spare = chain.train(recipes.of(trainer.preset, {"seed": 11, "epochs": 1}, "spare"))
    trained = {chain.model.digest, spare.digest}
    found = retention.stored(print)
    assert {each.digest for each in found if each.kind == "weights"} == trained
    assert {each.digest for each in found if each.kind == "dataset"} == {chain.dataset.digest}
    assert chain.evaluation.digest in {each.digest for each in found if each.kind == "evaluation"}
    (weights,) = [each for each in found if each.kind == "weights" and each.digest == spare.digest]
    assert weights.bytes > 10_000
    assert weights.refers_to == (chain.dataset.digest, chain.base.digest, chain.replay.digest)

    retention.remove(weights)
    retention.remove(weights)
    retention.sweep()

    assert trainer.find(spare.digest) is None
    assert trainer.remembered(spare.digest) == spare
    assert (trainer.folder(spare) / "report.json").is_file()
    assert trainer.find(chain.model.digest) == chain.model
    assert {each.digest for each in retention.stored(print) if each.kind == "weights"} == {chain.model.digest}
    assert chain.train(recipes.of(trainer.preset, {"seed": 11, "epochs": 1})).digest == spare.digest


def test_a_dataset_version_that_was_removed_is_not_found_and_is_published_again(chain: Chain):
    retention, store = chain.port("retention"), chain.port("dataset_store")
    (version,) = [each for each in retention.stored(print) if each.kind == "dataset"]

    retention.remove(version)

    assert store.find(chain.dataset.digest) is None
    assert store.publish(print) == chain.dataset
    assert store.find(chain.dataset.digest) == chain.dataset


def test_a_tracked_training_that_was_removed_is_not_listed_any_more(chain: Chain):
    retention, registry = chain.port("retention"), chain.port("registry")
    tracked = [each for each in retention.stored(print) if each.kind == "tracked training"]
    assert len(tracked) == len(registry.trainings()) == 2
    assert tracked[0].bytes > 100

    retention.remove(tracked[0])
    retention.sweep()

    assert len(registry.trainings()) == 1
    assert [each.digest for each in retention.stored(print) if each.kind == "tracked training"] == [tracked[1].digest]


def test_a_registered_version_bears_when_it_was_cleaned(chain: Chain):
    registry = chain.port("registry")
    registry.tag(chain.registered.version, champions.cleaned_tags())

    (only,) = registry.versions()
    assert only.cleaned.startswith("20")
    assert registry.champion() == chain.registered


def test_another_machine_sees_the_champion_and_its_card(chain: Chain):
    registry = chain.elsewhere["registry"]

    assert registry.champion() == chain.registered
    assert registry.card(chain.registered) == "# A card\n"


def test_an_endpoint_ensured_again_is_the_same_one_and_is_found(chain: Chain):
    host = chain.port("endpoint_host")

    assert host.ensure_endpoint(print) == chain.endpoint
    assert host.find(chain.endpoint.digest) == chain.endpoint


def test_a_deployed_model_answers_and_says_who_it_is(chain: Chain):
    host = chain.port("endpoint_host")
    assert host.find(chain.deployment.digest) == chain.deployment

    answer = endpoint_client.chat(
        chain.endpoint.address, host.key(), [{"role": "user", "content": "Hello"}], max_new_tokens=4
    )

    assert answer.deployment == chain.deployment.name
    assert (answer.model_name, answer.model_version) == (chain.registered.name, chain.registered.version)


def test_deploying_the_same_model_again_changes_nothing_and_all_traffic_is_its(chain: Chain):
    host = chain.port("endpoint_host")

    assert host.deploy(chain.registered, print) == chain.deployment
    (live,) = host.status()["deployments"]
    assert (live["name"], live["traffic"]) == (chain.deployment.name, 100)
    assert (live["model_name"], live["model_version"]) == (chain.registered.name, chain.registered.version)


def test_who_has_no_key_is_refused(chain: Chain):
    assert chain.deployment
    with pytest.raises(endpoint_client.NoAnswer, match="401"):
        endpoint_client.chat(chain.endpoint.address, "not-the-key", [{"role": "user", "content": "Hello"}])


def test_a_connection_made_again_is_the_same_one(chain: Chain):
    store = chain.port("connection_store")

    assert store.connect(chain.endpoint, chain.port("endpoint_host").key()) == chain.connection
    assert store.find(chain.connection.digest) == chain.connection
    assert chain.connection.address == chain.endpoint.address


# Both backends use PromptFlowStore; test_chat_on_azure.py tests a packaged flow against an endpoint on Azure.
@pytest.mark.parametrize("chain", ["local"], indirect=True)
def test_a_packaged_flow_is_found_and_marks_the_questions_it_is_asked(chain: Chain, tmp_path):
    store = chain.port("flow_store")
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        '{"messages": [{"role": "user", "content": "Hello"}], "answers": ["hello"]}\n', encoding="utf-8"
    )
    assert store.find(chain.package.digest) == chain.package

    evaluation = store.evaluate(chain.package, chain.deployment, questions, print)

    assert evaluation.questions == 1
    assert store.find(evaluation.digest) == evaluation
