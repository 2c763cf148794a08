"""The assets, checks, jobs, sensors and schedules of both backends, from the loaded definitions.

Each backend's definitions are loaded in a process of its own, because the backend is chosen when they are loaded:
`python -m docs_generator.asset_graph` prints those of the present settings as JSON.
"""

import json
import os
import subprocess
import sys
from typing import Any

from docs_generator.markdown import page, table
from phi_assets.project import PROJECT
from phi_assets.settings import PREFIX

# Names in the form that Azure demands; nothing is contacted when definitions are loaded.
AZURE = {
    "PHI_BACKEND": "azure",
    "PHI_AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000000",
    "PHI_AZURE_LOCATION": "eastus2",
    "PHI_AZURE_NAME": "documentation",
}
STAGES = ("infrastructure", "dataset", "training", "evaluation", "serving", "chat", "operations")
WHERE = {("local",): "a laptop", ("azure",): "Azure", ("local", "azure"): "a laptop and Azure"}


def loaded() -> dict[str, Any]:
    """Return the definitions of this process's backend as plain values."""
    from phi_assets.definitions import definitions
    from phi_assets.graph import asset_facts

    defs = definitions()
    graph = defs.resolve_asset_graph()
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "owners": sorted(node.owners),
            "description": node.description or "",
            "upstream": sorted(parent.to_user_string() for parent in node.parent_keys),
            "stored_by": node.metadata.get(asset_facts.PORT),
            "observed": not node.is_materializable,
            "checks": {
                check.name: {
                    "description": graph.get_check_spec(check).description or "",
                    "blocking": graph.get_check_spec(check).blocking,
                }
                for check in sorted(node.check_keys)
            },
        }
    return {
        "assets": assets,
        "jobs": {job.name: job.description or "" for job in defs.jobs or ()},
        "sensors": {sensor.name: sensor.description or "" for sensor in defs.sensors or ()},
        "schedules": {schedule.name: schedule.description or "" for schedule in defs.schedules or ()},
    }


def definitions_of(backend: str) -> dict[str, Any]:
    """Return what `loaded` gives in a process with the backend's settings and no other PHI_ variable."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    done = subprocess.run(
        [sys.executable, "-m", "docs_generator.asset_graph"],
        cwd=PROJECT,
        env={**others, **(AZURE if backend == "azure" else {"PHI_BACKEND": "local"})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def assets_page() -> str:
    """Return the reference page of both backends' graphs."""
    return page_of({backend: definitions_of(backend) for backend in ("local", "azure")})


def page_of(graphs: dict[str, dict[str, Any]]) -> str:
    """Return the reference page of the graphs, by backend."""
    assets = {name: asset for graph in graphs.values() for name, asset in graph["assets"].items()}
    stages = sorted({asset["group"] for asset in assets.values()}, key=lambda group: (*STAGES, group).index(group))
    parts = []
    for stage in stages:
        parts.append(f"## {stage}")
        parts += [_asset(name, graphs) for name, asset in assets.items() if asset["group"] == stage]
    for kind, title in (("jobs", "Jobs"), ("sensors", "Sensors"), ("schedules", "Schedules")):
        rows = [(f"`{name}`", text, WHERE[where]) for name, text, where in _by_name(graphs, kind)]
        parts += [f"## {title}", table(("name", "what it does", "on"), rows)]
    return page(
        "Assets",
        "Every asset of the graph, by stage, with the checks on its page in Dagster's UI. A blocking check that did "
        "not pass keeps every asset behind it from being made, in any run. An observed source is read, never made.",
        *parts,
    )


def _asset(name: str, graphs: dict[str, dict[str, Any]]) -> str:
    """Return one asset's section. Where the backends differ, the section says it for each."""
    there = {backend: graph["assets"][name] for backend, graph in graphs.items() if name in graph["assets"]}
    asset = next(iter(there.values()))
    kind = "Observed source" if asset["observed"] else "Asset"
    facts = [f"{kind} on {WHERE[tuple(there)]}; kind {', '.join(asset['kinds'])}; owner {', '.join(asset['owners'])}."]
    if asset["stored_by"]:
        facts.append(f"Stored by the resource `{asset['stored_by']}`.")
    upstream = {backend: _links(each["upstream"]) for backend, each in there.items()}
    if len(set(upstream.values())) == 1:
        facts.append(f"Upstream assets: {next(iter(upstream.values()))}.")
    else:
        facts.append("Upstream assets " + "; ".join(f"on {WHERE[(one,)]}: {x}" for one, x in upstream.items()) + ".")
    checks = {check: found for each in there.values() for check, found in each["checks"].items()}
    rows = [
        (f"`{check}`", "blocking" if found["blocking"] else "warns", found["description"])
        for check, found in sorted(checks.items())
    ]
    checked = table(("check", "effect", "what it checks"), rows) if rows else ""
    return "\n\n".join(part for part in (f"### {name}", asset["description"], " ".join(facts), checked) if part)


def _links(names: list[str]) -> str:
    return ", ".join(f"[`{name}`](#{name})" for name in names) or "none"


def _by_name(graphs: dict[str, dict[str, Any]], kind: str) -> list[tuple[str, str, tuple[str, ...]]]:
    names = sorted({name for graph in graphs.values() for name in graph[kind]})
    found = []
    for name in names:
        where = tuple(backend for backend, graph in graphs.items() if name in graph[kind])
        found.append((name, graphs[where[0]][kind][name], where))
    return found


if __name__ == "__main__":
    print(json.dumps(loaded()))
