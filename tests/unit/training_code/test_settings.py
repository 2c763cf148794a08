"""Settings: presets, overrides, and refused values."""

from pathlib import Path

import pytest

from training_code.errors import TrainingRefused
from training_code.settings import FIELDS, PRESETS, build, command_line, read_preset, settings_from

PATHS = ["--base_model", "b", "--train_file", "t", "--validation_file", "v", "--output_dir", "o"]


def test_a_value_on_the_command_line_overrides_the_preset():
    settings = settings_from(["--config", "laptop", *PATHS, "--learning_rate", "1e-4", "--packing", "false"])
    assert (settings.learning_rate, settings.packing, settings.method) == (1e-4, False, "full")


def test_a_preset_can_be_given_by_path(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("epochs: 7\nlora_targets: [o_proj]\n")
    settings = settings_from(["--config", str(tmp_path / "mine.yaml"), *PATHS])
    assert (settings.epochs, settings.lora_targets) == (7.0, ("o_proj",))


def test_a_number_that_yaml_reads_as_text_is_still_a_number(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("learning_rate: 5e-6\n")
    assert settings_from(["--config", str(tmp_path / "mine.yaml"), *PATHS]).learning_rate == 5e-6


@pytest.mark.parametrize("preset", sorted(p.stem for p in PRESETS.glob("*.yaml")))
def test_every_preset_holds_only_known_settings_of_the_right_kind(preset: str):
    assert settings_from(["--config", preset, *PATHS]).method in ("full", "lora")


@pytest.mark.parametrize("preset", ["guide-phi35-full", "phi35-full", "phi35-lora", "phi4-mini-lora"])
def test_the_presets_of_phi_read_conversations_of_4096_tokens(preset: str):
    assert settings_from(["--config", preset, *PATHS]).max_length >= 4096


@pytest.mark.guide("fine-tune")
def test_the_guides_preset_has_the_guides_values():
    s = settings_from(["--config", "guide-phi35-full", *PATHS])
    assert (s.method, s.learning_rate, s.schedule, s.warmup_share, s.epochs) == ("full", 5e-6, "cosine", 0.2, 3)
    assert (s.batch_size * s.accumulation, s.packed_length, s.packing, s.seed) == (4, 2048, True, 0)
    assert (s.precision, s.attention, s.gradient_checkpointing) == ("bf16", "eager", True)


def test_frozen_modules_are_named_on_the_command_line():
    assert settings_from(["--config", "laptop", *PATHS, "--frozen", "qkv_proj,o_proj"]).frozen == ("qkv_proj", "o_proj")


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.default is None])
@pytest.mark.parametrize("value", [None, "none", "null"])
def test_a_setting_without_a_value_can_be_written_down(name: str, value: str | None):
    paths = dict(zip([path[2:] for path in PATHS[::2]], PATHS[1::2], strict=True))
    assert getattr(build({**paths, name: value}, "a test"), name) is None


def test_an_unknown_option_names_the_nearest_one():
    with pytest.raises(TrainingRefused, match="'--learnin_rate' on the command line; did you mean --learning_rate"):
        settings_from([*PATHS, "--learnin_rate", "1"])


def test_an_option_is_not_taken_for_a_longer_one_that_it_begins():
    with pytest.raises(TrainingRefused, match="unknown setting '--lora'"):
        settings_from([*PATHS, "--lora", "1"])


def test_an_unknown_key_in_a_file_names_the_file_and_the_nearest_one(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("epoch: 7\n")
    with pytest.raises(TrainingRefused, match=r"'epoch' in .*mine.yaml; did you mean epochs"):
        settings_from(["--config", str(tmp_path / "mine.yaml"), *PATHS])


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(TrainingRefused, match=r"no config 'lap'.*guide-phi35-full, laptop"):
        settings_from(["--config", "lap", *PATHS])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("epochs", "many", "epochs is 'many'"),
        ("lora_rank", "1.5", "lora_rank is '1.5'"),
        ("lora_rank", 1.5, "got a number with a fractional part"),
        ("packing", "perhaps", "packing is 'perhaps': Input should be a valid boolean"),
        ("method", "lor", "method is 'lor': Input should be 'full', 'lora' or 'qlora'"),
        ("batch_size", 0, "batch_size is 0: Input should be greater than or equal to 1"),
        ("warmup_share", 2, "warmup_share is 2: Input should be less than or equal to 1"),
        ("learning_rate", 0, "greater than 0"),
        ("warmup_share", "nan", "warmup_share is 'nan'"),
        ("learning_rate", "nan", "greater than 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: object, says: str):
    with pytest.raises(TrainingRefused, match=says):
        build(dict(zip([p[2:] for p in PATHS[::2]], PATHS[1::2], strict=True)) | {name: value}, "a test")


def test_a_missing_path_is_named():
    with pytest.raises(TrainingRefused, match="missing --validation_file, --output_dir"):
        settings_from(["--base_model", "b", "--train_file", "t"])


def test_no_setting_names_a_test_file():
    assert not [name for name in FIELDS if "test" in name]


def test_the_help_tells_every_setting_with_its_default():
    text = " ".join(command_line().format_help().split())
    for name in FIELDS:
        assert f"--{name} VALUE" in text
    assert "seconds between checkpoints, besides one each epoch (default 45.0)" in text


def test_where_a_run_writes_does_not_change_what_it_learns():
    one = settings_from(["--config", "laptop", *PATHS])
    other = settings_from(["--config", "laptop", *PATHS[:-1], "elsewhere", "--save_seconds", "3"])
    assert one.learned_from() == other.learned_from()
    assert one.learned_from() != settings_from(["--config", "laptop", *PATHS, "--seed", "1"]).learned_from()


@pytest.mark.parametrize("preset", ["laptop", "phi35-lora"])
def test_a_preset_with_preference_training_is_otherwise_its_own(preset: str):
    plain, with_pairs = read_preset(preset), read_preset(f"{preset}-dpo")
    added = {name for name in with_pairs if name.startswith("preference")}
    assert with_pairs["preference"] == "dpo"
    assert {name: value for name, value in with_pairs.items() if name not in added} == plain
