"""Frozen values that pass between assets: what exists, its address, and its digest.

A record is small and holds no secret. `digest` is the Dagster data version of the asset that returned it: equal digests
mean that nothing downstream is stale.

Records outlive releases. A class raises its `schema` when a field is renamed, removed or given another meaning, and
converts the values of older schemas in `upgrade`. A new field with a default needs neither.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self


class RecordUnreadable(ValueError):
    """The text of a record is damaged, or another release wrote it in a form that this release cannot read."""


class OtherRelease(RecordUnreadable):
    """Another release wrote the record: what it describes may well exist."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Base class of all records, with the digest of what it describes (hexadecimal SHA-256, or a prefix)."""

    kinds: ClassVar[dict[str, type["Record"]]] = {}
    schema: ClassVar[int] = 1

    digest: str

    def __init_subclass__(cls) -> None:
        Record.kinds[cls.__name__] = cls

    def to_json(self) -> str:
        head = {"record": type(self).__name__, "schema": self.schema}
        return json.dumps({**head, **dataclasses.asdict(self)}, indent=2, ensure_ascii=False)

    @classmethod
    def upgrade(cls, values: dict[str, Any], schema: int) -> dict[str, Any]:
        """Return the values of a record of an older schema as those of the current one."""
        del schema
        return values

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the record that `to_json` wrote. Raises RecordUnreadable, also for a record of another class."""
        try:
            values: dict[str, Any] = json.loads(text)
            name, schema = values.pop("record"), values.pop("schema", 1)  # the first records had no number
        except (ValueError, TypeError, AttributeError, KeyError) as e:
            raise RecordUnreadable("its record is damaged") from e
        kind = Record.kinds.get(name)
        if kind is None:
            raise OtherRelease(f"its record is a {name}, which this release of phi-assets does not know")
        if not issubclass(kind, cls):
            raise RecordUnreadable(f"its record is a {kind.__name__}, and a {cls.__name__} is expected")
        if not isinstance(schema, int) or schema > kind.schema:
            raise OtherRelease(
                f"its record has schema {schema} and was written by a newer release of phi-assets; this one reads "
                f"schema {kind.schema} of a {name}"
            )
        return kind._of(kind.upgrade(values, schema) if schema < kind.schema else values)

    @classmethod
    def load(cls, file: Path) -> Self | None:
        """Return the record in the file, None if there is no file. Raises RecordUnreadable."""
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as e:
            raise RecordUnreadable("its record is damaged") from e
        return cls.from_json(text)

    @classmethod
    def _of(cls, values: dict[str, Any]) -> Any:
        fields = {field.name: field for field in dataclasses.fields(cls)}
        required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
        lacking, unknown = sorted(required - set(values)), sorted(set(values) - set(fields))
        if lacking or unknown:
            wrong = [*(f"lacks {name}" for name in lacking), *(f"has an unknown {name}" for name in unknown)]
            raise OtherRelease(f"its record {' and '.join(wrong)}: another release of phi-assets wrote it")
        made: Any = cls  # `asdict` wrote tuples as lists
        return made(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


@dataclass(frozen=True, kw_only=True)
class CloudResource(Record):
    """A resource in a cloud subscription. The digest covers its identity, not its settings, which are checked live."""

    name: str
    kind: str
    address: str
    region: str
    sku: str
    dollars_a_month: float = field(metadata={"doc": "of standing unused, from a dated price table"})
    costs: str
    portal: str


@dataclass(frozen=True, kw_only=True)
class Quota(Record):
    """The quota of the machines that training and the endpoint need. The digest covers the need."""

    name: str
    region: str
    needs: tuple[dict[str, Any], ...] = field(metadata={"doc": "of each quota: name, needed, limit, used"})
    requested: str
    dollars_an_hour: float
    dearest_job: float
    portal: str


@dataclass(frozen=True, kw_only=True)
class Workspace(Record):
    """The workspace that tracks runs and models."""

    name: str
    tracking_uri: str


@dataclass(frozen=True, kw_only=True)
class Compute(Record):
    """The compute that training runs on."""

    name: str
    device: str
    cores: int
    memory_gb: float


@dataclass(frozen=True, kw_only=True)
class TrainingEnvironment(Record):
    """The locked packages that training runs with."""

    name: str
    packages: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class DatasetVersion(Record):
    """A published dataset: `address` holds train, validation and test as JSON Lines, and a manifest."""

    address: str
    rows: dict[str, int]
    groups: dict[str, int]
    pairs: int = field(default=0, metadata={"doc": "preference pairs"})


@dataclass(frozen=True, kw_only=True)
class BaseModel(Record):
    """The pretrained model that fine-tuning starts from, as a Hugging Face folder with safetensors."""

    address: str
    source: str
    architecture: str
    parameters: int
    context_length: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Replay(Record):
    """Conversations on which training holds a model to its base. The digest covers their file, replay.jsonl."""

    address: str
    base_digest: str
    conversations: int


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Record):
    """A fine-tuned model. The digest covers its weights and the code that trained it."""

    address: str
    adapter_address: str | None
    report_address: str
    dataset_digest: str
    base_digest: str
    code_version: str
    preset: str
    training_run: str
    replay_digest: str = field(default="", metadata={"doc": "of the replay set; empty when nothing was replayed"})
    steps: int = field(default=0, metadata={"doc": "optimizer steps planned; 0 in a record of an earlier release"})
    tokens_per_step: int = field(default=0, metadata={"doc": "mean tokens of a step, replay included; 0 as above"})


@dataclass(frozen=True, kw_only=True)
class Evaluation(Record):
    """The measured quality of one model against the base model and the champion at that time."""

    address: str
    model_digest: str
    dataset_digest: str
    champion: str | None = field(metadata={"doc": "name/version of the champion that it was compared with"})


@dataclass(frozen=True, kw_only=True)
class RegisteredModel(Record):
    """A version in the model registry that passed the promotion checks, and the folder that it is served from."""

    name: str
    version: str
    address: str
    model_digest: str
    dataset_digest: str
    training_run: str


@dataclass(frozen=True, kw_only=True)
class OptimizedModel(Record):
    """A registered model in the form in which it is served: with quantised weights, or the full one."""

    address: str = field(metadata={"doc": "folder of the measurements, and of the quantised model if it is served"})
    model_digest: str
    form: str = field(metadata={"doc": "that is served: int8, int4 or full"})
    note: str = field(default="", metadata={"doc": "why the full model is served; empty otherwise"})


@dataclass(frozen=True, kw_only=True)
class ModelCard(Record):
    """The README.md stored with a registered model's weights. The digest is that of its text."""

    address: str
    model_version: str


@dataclass(frozen=True, kw_only=True)
class Endpoint(Record):
    """A stable address that serves models. Its key is stored by the endpoint host, never in the record."""

    name: str
    address: str
    auth: str = field(default="key", metadata={"doc": "key, or aad_token: an Entra token for each caller"})
    portal: str = field(default="", metadata={"doc": "its page in the portal; empty on a laptop"})


@dataclass(frozen=True, kw_only=True)
class Deployment(Record):
    """The deployment that receives the endpoint's traffic."""

    endpoint: str
    name: str
    model_name: str
    model_version: str
    model_digest: str
    dataset_digest: str
    training_run: str
    dollars_a_day: float = field(default=0.0, metadata={"doc": "of its machines, from a dated price table"})
    portal: str = field(default="", metadata={"doc": "its page in the portal; empty on a laptop"})
    form: str = field(default="full", metadata={"doc": "of the model's weights: full, int8 or int4"})


@dataclass(frozen=True, kw_only=True)
class Connection(Record):
    """A Prompt flow connection to the endpoint."""

    name: str
    address: str


@dataclass(frozen=True, kw_only=True)
class ChatApp(Record):
    """The chat page and its server, over the endpoint. Its secret is stored by the chat host, never in the record."""

    address: str
    endpoint: str = field(metadata={"doc": "address of the endpoint that it asks"})
    model_name: str
    model_version: str


@dataclass(frozen=True, kw_only=True)
class FeedbackCandidates(Record):
    """Rated answers of the chat that wait for a review, or had one: how many, and how many ratings were left out."""

    rows: int
    corrections: int
    left_out: dict[str, int] = field(metadata={"doc": "ratings that propose nothing, by reason"})


@dataclass(frozen=True, kw_only=True)
class FeedbackConversations(Record):
    """Approved answers of the chat as one file of conversations, a feed of `raw_conversations`."""

    address: str = field(metadata={"doc": "the file; empty where nothing is approved"})
    rows: int
    rejected: int
    pending: int
    left_out: dict[str, int] = field(metadata={"doc": "approved rows above a limit, by reason"})


@dataclass(frozen=True, kw_only=True)
class FlowPackage(Record):
    """The chat flow as a folder for `pf flow serve` or a container build."""

    address: str


@dataclass(frozen=True, kw_only=True)
class AgentEvaluation(Record):
    """The agent's answers to the evaluation questions, asked one at a time: per-row results at `address`."""

    address: str
    questions: int
    share_right: float | None


@dataclass(frozen=True, kw_only=True)
class FlowEvaluation(Record):
    """A batch run of the chat flow over the evaluation questions: per-row results at `address`."""

    address: str
    questions: int
    share_right: float | None
