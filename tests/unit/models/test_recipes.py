"""Recipes and the order of experiments: no training here."""

from dataclasses import replace

import pytest

from phi_assets.models import recipes
from phi_assets.models.experiments import Scores, Trained, best_first, differences
from phi_assets.models.recipes import WrongRecipe

TRAINED = Trained(
    candidate="",
    recipe="laptop",
    settings={},
    dataset="new",
    model="m",
    dagster_run="r",
    began=0.0,
    minutes=1.0,
    loss=1.0,
    validation_loss=1.0,
    scores=None,
)


def scored(name: str, bits: float, *failed: str, dataset: str = "new", began: float = 0.0) -> Trained:
    return replace(TRAINED, candidate=name, scores=Scores(bits, 0.5, 0.9, failed), dataset=dataset, began=began)


def test_what_the_preset_says_anyway_is_no_change():
    recipe = recipes.of("laptop", {"learning_rate": 1e-4, "epochs": 3, "seed": None})

    assert recipe.changes == {}
    assert recipe.label == recipe.candidate == "laptop"
    assert recipe.digest == recipes.Recipe("laptop").digest


def test_a_change_names_the_candidate_and_goes_to_the_command_line():
    recipe = recipes.of("laptop", {"learning_rate": 2e-4, "lora_rank": 8})

    assert recipe.candidate == "laptop learning_rate=0.0002 lora_rank=8"
    assert recipe.arguments == ["--learning_rate=0.0002", "--lora_rank=8"]
    assert recipes.of("laptop", {"seed": 1}, "lucky").candidate == "lucky"


def test_another_change_is_another_recipe_and_another_name_is_not():
    base, other = recipes.of("laptop", {"seed": 1}), recipes.of("laptop", {"seed": 2})

    assert len({base.digest, other.digest, recipes.Recipe("laptop").digest}) == 3
    assert recipes.of("laptop", {"seed": 1}, "lucky").digest == base.digest


def test_preference_training_is_part_of_a_recipe_only_where_it_is_on():
    plain, changed, on = (
        recipes.of("laptop", given)
        for given in ({}, {"preference_beta": 0.5}, {"preference": "dpo", "preference_beta": 0.5})
    )

    assert not [name for name in plain.learned_from() if name.startswith("preference")]
    assert plain.digest == changed.digest != on.digest
    assert (plain.prefers, on.prefers) == (False, True)
    assert on.label == "laptop preference=dpo preference_beta=0.5"
    assert recipes.of("laptop-dpo", {}).digest == recipes.of("laptop", {"preference": "dpo"}).digest


def test_where_and_how_fast_is_no_part_of_a_recipe(tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text("epochs: 3\n", encoding="utf-8")
    before = recipes.of(str(preset), {}).digest

    preset.write_text("# another comment\nepochs: 3\nsave_seconds: 9\n", encoding="utf-8")

    assert recipes.of(str(preset), {}).digest == before
    preset.write_text("epochs: 4\n", encoding="utf-8")
    assert recipes.of(str(preset), {}).digest != before


@pytest.mark.parametrize(
    ("preset", "wanted", "words"),
    [
        ("laptpo", {}, "one of guide-phi35-full, laptop"),
        ("laptop", {"epochs": -1.0}, "epochs is -1.0: Input should be greater than 0"),
        ("laptop", {"method": "lroa"}, "Input should be 'full', 'lora' or 'qlora'"),
        ("laptop", {"learning_rat": 1.0}, "did you mean learning_rate?"),
    ],
)
def test_what_is_wrong_is_said_in_training_code_s_words(preset, wanted, words):
    with pytest.raises(WrongRecipe) as caught:
        recipes.of(preset, wanted)

    assert words in str(caught.value.description)
    assert not caught.value.allow_retries


def test_the_file_of_a_winner_gives_the_same_training_settings(tmp_path):
    winner = recipes.of("phi35-lora", {"learning_rate": 1e-5, "max_length": 1024, "method": "qlora"})

    (tmp_path / "winner.yaml").write_text(winner.as_preset(), encoding="utf-8")

    adopted = recipes.of(str(tmp_path / "winner.yaml"), {})
    assert adopted.learned_from() == winner.learned_from()
    assert adopted.digest == winner.digest


def test_the_steps_that_data_will_make_are_known_before_the_training():
    phi, guide = recipes.Recipe("phi35-lora"), recipes.Recipe("guide-phi35-full")

    steps, tokens_per_step, warning = phi.expected_steps(22_209, 240, replay=True)
    assert (steps, tokens_per_step, warning) == (289, 256, "")
    assert phi.expected_steps(22_209, 240, replay=False)[0] == 260
    few, _, warning = phi.expected_steps(1_000, 11, replay=False)
    assert few < 50
    assert f"{few} optimizer steps are few" in warning
    assert guide.expected_steps(22_209, 240, replay=True) == (8, 8192, "")


def test_what_passes_comes_before_what_does_not_and_then_by_bits_per_byte():
    rows = [
        scored("worse", 1.2),
        replace(TRAINED, candidate="not evaluated"),
        scored("fails", 0.5, "answers_questions"),
        scored("better", 1.1),
        scored("of older data", 0.1, dataset="old", began=-1.0),
    ]

    order = [each.candidate for each in best_first(rows)]

    assert order == ["better", "worse", "fails", "not evaluated", "of older data"]


def test_only_what_is_not_as_in_the_reference_is_named():
    trained = replace(TRAINED, settings={"learning_rate": "0.0002", "epochs": "3.0", "output_dir": "/somewhere"})

    assert differences(trained, {"learning_rate": 0.0001, "epochs": 3.0, "seed": 0}) == ["learning_rate=0.0002"]


def test_the_length_that_a_check_has_judged_is_not_judged_again_by_the_training():
    assert recipes.Recipe("laptop").limits == ["--max_truncated_share=1"]
    assert recipes.of("laptop", {"max_length": 64}, "short").limits == []
