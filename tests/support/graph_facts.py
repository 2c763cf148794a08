"""Facts of a backend's definitions, gathered in a subprocess: the backend is chosen when definitions are loaded."""

import dataclasses
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

BACKENDS = ("local", "azure")
AZURE = {
    "PHI_BACKEND": "azure",
    "PHI_AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-0000000000aa",
    "PHI_AZURE_LOCATION": "eastus2",
    "PHI_AZURE_NAME": "phi-local",
}
HEAVY = ("torch", "transformers", "azure", "mlflow", "promptflow", "datasets", "pandas", "presidio_analyzer")


def environment(backend: str) -> dict[str, str]:
    """Return a process environment with the backend's settings and no other PHI_ variable."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PHI_")}
    return {**others, **(AZURE if backend == "azure" else {})}


@cache
def facts_of(backend: str, *settings: tuple[str, str]) -> dict[str, Any]:
    """Return `facts` of the backend's definitions with these settings, each a name and a value."""
    command = [sys.executable, "-m", "tests.support.graph_facts"]
    done = subprocess.run(
        command, env={**environment(backend), **dict(settings)}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def facts() -> dict[str, Any]:
    """Return the graph of the snapshot that reviewers read, and further facts that tests assert."""
    from phi_assets.definitions import definitions
    from phi_assets.graph import asset_facts as metadata
    from phi_assets.graph import check_gates, code_versions

    loaded = definitions()
    heavy = [name for name in HEAVY if name in sys.modules]
    asset_graph = loaded.resolve_asset_graph()
    blocking: dict[str, list[str]] = {}
    for key in sorted(asset_graph.asset_check_keys):
        if asset_graph.get_check_spec(key).blocking:
            blocking.setdefault(key.asset_key.to_user_string(), []).append(key.name)
    nodes = {key.to_user_string(): asset_graph.get(key) for key in sorted(asset_graph.get_all_asset_keys())}
    return {
        "graph": {
            "assets": {name: _shown(node) for name, node in nodes.items()},
            "jobs": {job.name: job.description for job in loaded.jobs or []},
            "sensors": [sensor.name for sensor in loaded.sensors or []],
            "schedules": [schedule.name for schedule in loaded.schedules or []],
        },
        "heavy": heavy,
        "observable": [name for name, node in nodes.items() if node.is_observable],
        "observed": sorted(
            key.to_user_string() for key in loaded.resolve_job_def("observe_sources").asset_layer.selected_asset_keys
        ),
        "children": {name: sorted(child.to_user_string() for child in node.child_keys) for name, node in nodes.items()},
        "code_references": [
            spec.key.to_user_string()
            for spec in loaded.resolve_all_asset_specs()
            if "dagster/code_references" in spec.metadata
        ],
        "blocking": blocking,
        "gates": check_gates.BLOCKING,
        "resources": sorted(loaded.resources or {}),
        "versions": {name: node.code_version for name, node in nodes.items()},
        "ports": {name: node.metadata.get(metadata.PORT) for name, node in nodes.items()},
        "live": [name for name, node in nodes.items() if metadata.LIVE in node.tags],
        "code": {
            spec.key.to_user_string(): dataclasses.asdict(code)
            for spec in loaded.resolve_all_asset_specs()
            if (code := code_versions.code_of(spec, loaded.resources or {}))
        },
    }


def _shown(node: Any) -> dict[str, Any]:
    return {
        "group": node.group_name,
        "kinds": sorted(node.kinds),
        "owners": sorted(node.owners),
        "description": node.description,
        "upstream": sorted(parent.to_user_string() for parent in node.parent_keys),
        "checks": sorted(check.name for check in node.check_keys),
        "automation": str(node.automation_condition) if node.automation_condition else None,
        "source": not node.is_materializable,
    }


if __name__ == "__main__":
    print(json.dumps(facts()))
