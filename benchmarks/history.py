"""A home with a long history, for the benchmarks: 20,000 conversations in three dataset versions, and 1,000 past runs.

The dataset versions are published by the project's own code. The runs are executed by Dagster, with small assets of the
same keys and checks, so that their events and tags are real: five of nine make the dataset, one everything, three only
evaluate checks, and every twentieth fails.
"""

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
from sqlalchemy import Engine, event

from phi_assets.backends.select import build_resources
from phi_assets.defs.dataset.checks import SPECS
from phi_assets.defs.dataset.sensors import RAW
from phi_assets.files import atomic_write
from phi_assets.graph import check_gates
from phi_assets.graph.run_tags import FOLLOWED, RETRIED_WHEN_KILLED
from phi_assets.graph.staleness import DATA_VERSION
from phi_assets.instance import home
from phi_assets.instance.retraining_due import DATASET, REASON
from phi_assets.notifications.outbox import Outbox
from phi_assets.notifications.send import outbox_path, read_on
from phi_assets.outcome import CheckOutcome
from phi_assets.records import DatasetVersion, ModelVersion
from phi_assets.settings import Settings, current

CONVERSATIONS, RUNS = 20_000, 1_000
IN_THE_INBOX, A_FILE = 5_000, 50  # conversations, in all and in each file of the inbox
BATCHES = (0, 2_500, 5_000)  # conversations of the inbox in each dataset version
EVERYTHING = ("chat_dataset", "fine_tuned_model", "model_evaluation", "registered_model", "online_deployment")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
METADATA = {"report": dg.MetadataValue.json({f"step {number}": number / 7 for number in range(1_000)})}


def make(folder: Path) -> None:
    """Make the home, unless it is there. The process's settings are those of the home."""
    if (folder / "made").exists():
        return
    event.listen(Engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF").close())
    settings = current()
    versions = publish(folder, settings)
    keep(settings, "chat_dataset", versions[-1])
    model = ModelVersion(
        digest="m" * 64,
        address="",
        adapter_address=None,
        report_address="",
        dataset_digest=versions[0].digest,
        base_digest="b" * 64,
        code_version="c" * 16,
        preset="laptop",
        training_run="",
    )
    keep(settings, "fine_tuned_model", model)
    with home.instance(settings) as instance:
        run_often(instance, versions, RUNS)
        observe(instance, build_resources(settings)["dataset_store"])
        notify(instance, settings)
    (folder / "made").touch()


def publish(folder: Path, settings: Settings) -> list[DatasetVersion]:
    """Publish one version for each of BATCHES, each with more files in the inbox."""
    store, inbox = build_resources(settings)["dataset_store"], settings.inbox
    inbox.mkdir(parents=True, exist_ok=True)
    texts = conversations(CONVERSATIONS)
    (folder / "conversations.jsonl").write_bytes(b"".join(next(texts) for _ in range(CONVERSATIONS - IN_THE_INBOX)))
    versions, files = [], 0
    for size in BATCHES:
        while files * A_FILE < size:
            files += 1
            (inbox / f"{files:05}.jsonl").write_bytes(b"".join(next(texts) for _ in range(A_FILE)))
        versions.append(store.publish(print))
    return versions


def conversations(count: int) -> Iterator[bytes]:
    """Yield lines of conversations whose words follow Zipf's law, so that none is near another."""
    chance = random.Random(0)
    words = ["".join(chance.choices("aeinorst", k=chance.randint(2, 9))) for _ in range(20_000)]
    shares = [1 / rank for rank in range(1, len(words) + 1)]
    for number in range(count):
        drawn = chance.choices(words, shares, k=120)
        turns = [f"{number} {' '.join(drawn[:30])}?", f"{' '.join(drawn[30:])}."]
        roles = zip(("user", "assistant"), turns, strict=True)
        messages = [{"role": role, "content": text} for role, text in roles]
        yield orjson.dumps({"messages": messages}, option=orjson.OPT_APPEND_NEWLINE)


def keep(settings: Settings, asset: str, record: Any) -> None:
    """Store the record as the asset's newest."""
    path = settings.state / "records" / f"{asset}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, record.to_json())


@dataclasses.dataclass
class Turn:
    """What the small assets of the next run say."""

    version: str = ""
    fails: bool = False


def run_often(instance: dg.DagsterInstance, versions: list[DatasetVersion], count: int) -> None:
    """Execute the past runs; the last one judges the newest dataset version."""
    turn = Turn()
    jobs = small_jobs(turn)
    order = ["chat_dataset", "checks", "chat_dataset", "checks", "chat_dataset", "everything"]
    order += ["chat_dataset", "checks", "chat_dataset"]
    for number in range(count):
        turn.version = versions[-1].digest if number == count - 1 else f"{number:064}"
        turn.fails = number % 20 == 7
        version = {DATA_VERSION: f"{number:064}"}
        instance.report_runless_asset_event(dg.AssetObservation(RAW, tags=version, metadata={"files": "1 in inbox"}))
        tags = {**FOLLOWED, **RETRIED_WHEN_KILLED, DATASET: turn.version, REASON: "20 new conversations"}
        job = jobs["chat_dataset" if number == count - 1 else order[number % len(order)]]
        job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        if not (number + 1) % 100:
            print(f"{number + 1} runs", flush=True)


def small_jobs(turn: Turn) -> dict[str, dg.JobDefinition]:
    """Return jobs over assets and checks with the keys of the project's own."""

    def small(name: str, above: str | None) -> dg.AssetsDefinition:
        @dg.asset(name=name, deps=[above] if above else [])
        def asset() -> dg.MaterializeResult:
            if turn.fails:
                raise RuntimeError(f"{name} of {turn.version} cannot be made")
            return dg.MaterializeResult(data_version=dg.DataVersion(turn.version), metadata=METADATA)

        return asset

    specs = [dg.AssetCheckSpec(name, asset="chat_dataset", blocking=True) for name in SPECS]

    @dg.multi_asset_check(specs=specs)
    def judged() -> Iterator[dg.AssetCheckResult]:
        for name in SPECS:
            yield check_gates.check_result(name, "chat_dataset", turn.version, CheckOutcome(True, "as it should be"))

    selections = {
        "chat_dataset": dg.AssetSelection.assets("chat_dataset"),
        "everything": dg.AssetSelection.all(),
        "checks": dg.AssetSelection.checks_for_assets("chat_dataset"),
    }
    assets = [small(name, above) for name, above in zip(EVERYTHING, (None, *EVERYTHING), strict=False)]
    made = dg.Definitions(
        assets=assets,
        asset_checks=[judged],
        jobs=[dg.define_asset_job(name, selection, config=QUIET) for name, selection in selections.items()],
        executor=dg.in_process_executor,
    )
    return {name: made.resolve_job_def(name) for name in selections}


def observe(instance: dg.DagsterInstance, store: Any) -> None:
    """Observe the content that the home has now, so that nothing is new."""
    version = {DATA_VERSION: store.source_fingerprint()}
    instance.report_runless_asset_event(dg.AssetObservation(RAW, tags=version))


def notify(instance: dg.DagsterInstance, settings: Settings) -> None:
    """Read the whole history into the outbox, and take every notification for received."""
    with Outbox(outbox_path(settings)) as outbox:
        position, cursor = None, "0"
        while position != outbox.safe_position():
            position = outbox.safe_position()
            read_on(instance, outbox, cursor)
            while notification := outbox.claim():
                outbox.confirm(notification)
