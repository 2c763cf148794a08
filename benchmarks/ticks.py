"""CPU of each sensor's and schedule's tick in a home of 20,000 conversations and 1,000 past runs, cold and warm.

python -m benchmarks.ticks [folder]     # the home is made there once (minutes), and used again
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg

CHILD = [sys.executable, "-m", "benchmarks.ticks"]
WARM = 5
WORDS = 60  # maximum characters of what a tick said


def settings_of(folder: Path) -> dict[str, str]:
    """Return the variables of the home: the policy decides by drift, and alerts go to a closed port."""
    return {
        "PHI_HOME": str(folder),
        "PHI_DATASET": str(folder / "conversations.jsonl"),
        "PHI_PERSONAL_DATA": "keep",
        "PHI_RETRAIN_MIN_NEW": "1000000",
        "PHI_RETRAIN_MIN_GROWTH": "1",
        "PHI_RETRAIN_MIN_DRIFT": "1",
        "PHI_WEBHOOK": "http://127.0.0.1:9/",
    }


def cpu() -> float:
    """Return the CPU seconds of this process and of its ended children, user and system."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def ticks_of(name: str, instance: dg.DagsterInstance) -> Callable[[], str]:
    """Return a function that evaluates the sensor or schedule, as the daemon does, and returns what it said."""
    from phi_assets.definitions import definitions

    loaded = definitions()
    repository = loaded.get_repository_def()
    if name in {each.name for each in repository.schedule_defs}:
        schedule = repository.get_schedule_def(name)
        return lambda: said(
            schedule.evaluate_tick(dg.build_schedule_context(instance=instance, repository_def=repository))
        )
    sensor, resources = repository.get_sensor_def(name), dict(loaded.resources or {})
    cursor: Any = None

    def by_condition() -> str:
        nonlocal cursor
        selection = sensor.asset_selection
        found = dg.evaluate_automation_conditions(loaded, instance, asset_selection=selection, cursor=cursor)
        cursor = found.cursor
        return f"requested {found.total_requested}"

    def by_function() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources)
        found = sensor.evaluate_tick(context)
        cursor = found.cursor
        return said(found)

    return by_condition if isinstance(sensor, dg.AutomationConditionSensorDefinition) else by_function


def said(tick: Any) -> str:
    return tick.skip_message or f"requested {len(tick.run_requests or ())}"


def names() -> list[str]:
    """Return every sensor and schedule of the project."""
    from phi_assets.definitions import definitions

    repository = definitions().get_repository_def()
    return [each.name for each in (*repository.sensor_defs, *repository.schedule_defs)]


def measure(name: str) -> dict[str, Any]:
    """Return the CPU seconds of the first tick in this process and of the later ones, and what the last one said."""
    from phi_assets.instance import home
    from phi_assets.settings import current

    with home.instance(current()) as instance:
        tick, spent, words = ticks_of(name, instance), [], ""
        for _ in range(1 + WARM):
            before = cpu()
            words = tick()
            spent.append(cpu() - before)
    return {"cold": spent[0], "warm": statistics.median(spent[1:]), "said": words[:WORDS]}


def run_freshness() -> dict[str, Any]:
    """Return the CPU seconds of two runs of the job that the schedule starts, executed in this process."""
    from phi_assets.definitions import definitions
    from phi_assets.instance import home
    from phi_assets.settings import current

    job, spent, words = definitions().resolve_job_def("freshness"), [], ""
    with home.instance(current()) as instance:
        for _ in range(2):
            before = cpu()
            done = job.execute_in_process(instance=instance, raise_on_error=False)
            spent.append(cpu() - before)
            words = "; ".join(
                str(each.description)
                for each in done.get_asset_check_evaluations()
                if each.check_name == "little_drift"
            )
    return {"cold": spent[0], "warm": spent[1], "said": words[:WORDS]}


def show(name: str, *arguments: str) -> None:
    """Print the line of what a process of its own measures."""
    done = subprocess.run([*CHILD, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:<34}{found['cold']:>8.3f}{found['warm']:>8.3f}  {found['said']}", flush=True)


def main(folder: Path) -> None:
    """Make the home, and print a line for each sensor and schedule, measured in a process of its own."""
    from phi_assets.settings import current

    os.environ.update(settings_of(folder))
    subprocess.run([*CHILD, "--make", str(folder)], check=True)
    print(f"{'tick':<34}{'cold':>8}{'warm':>8}  CPU seconds; what the last one said")
    (current().state / "drift.json").unlink(missing_ok=True)
    for name in names():
        show(name, "--tick", name)
    show("job freshness, not a tick", "--freshness")
    show("retraining_policy, drift known", "--tick", "retraining_policy")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--tick"]:
        print(json.dumps(measure(sys.argv[2])))
    elif sys.argv[1:2] == ["--freshness"]:
        print(json.dumps(run_freshness()))
    elif sys.argv[1:2] == ["--make"]:
        from benchmarks import history  # imports definitions, which read the settings

        history.make(Path(sys.argv[2]))
    elif len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made).resolve())
