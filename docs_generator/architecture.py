"""Draws docs/pictures/architecture.svg: the stages, the ports, and what each backend puts behind them.

`python -m docs_generator.architecture` writes it. Light colours of its own, so that it is legible on any page.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from docs_generator.markdown import DOCS

TARGET = DOCS / "pictures" / "architecture.svg"
COLUMN, GAP, LEFT = 176, 16, 116
BLUE, GREEN, ORANGE, GREY, INK = "#e3edfb", "#e4f4e8", "#fdeedd", "#f3f4f6", "#1f2937"
LINE = "#6b7280"


@dataclass(frozen=True)
class Stage:
    """One column: the assets of a stage, its ports, and what they are on each backend."""

    name: str
    assets: tuple[str, ...]
    ports: tuple[str, ...]
    laptop: tuple[str, ...]
    azure: tuple[str, ...]


STAGES = (
    Stage(
        "infrastructure",
        ("ml_workspace", "training_compute", "training_environment"),
        ("Provisioner",),
        ("this machine,", "MLflow on SQLite,", "the lock file"),
        ("one Bicep deployment:", "workspace, cluster,", "vault, storage, roles"),
    ),
    Stage(
        "dataset",
        ("raw_conversations", "chat_dataset"),
        ("DatasetStore",),
        ("files, the inbox", "folder, versions in", "the home"),
        ("blobs, the inbox", "prefix, data assets", "of the workspace"),
    ),
    Stage(
        "training",
        ("base_model", "fine_tuned_model"),
        ("BaseModelStore", "Trainer"),
        ("training_code/ in a", "child process"),
        ("training_code/ in an", "Azure ML job on", "a GPU"),
    ),
    Stage(
        "evaluation",
        ("model_evaluation", "registered_model", "model_card"),
        ("Evaluator", "ModelRegistry"),
        ("evaluation_code/ in a", "child process,", "MLflow's registry"),
        ("evaluation_code/ in a", "job, the workspace's", "registry"),
    ),
    Stage(
        "serving",
        ("online_endpoint", "online_deployment"),
        ("EndpointHost",),
        ("serving_code/ as a", "server on 127.0.0.1"),
        ("serving_code/ in a", "managed online", "endpoint"),
    ),
    Stage(
        "chat",
        ("endpoint_connection", "chat_flow", "chat_flow_evaluation"),
        ("ConnectionStore",),
        ("Prompt flow on this", "machine"),
        ("Prompt flow, connected", "in the workspace too"),
    ),
)
WIDTH = LEFT + len(STAGES) * (COLUMN + GAP)
# The rows' tops and heights.
PEOPLE, DAGSTER, ASSETS, PORTS, LAPTOP, AZURE = (20, 46), (98, 66), (208, 132), (376, 66), (478, 84), (578, 84)
HEIGHT = AZURE[0] + AZURE[1] + 20


def picture() -> str:
    """Return the SVG."""
    parts = [*_people(), *_dagster(), *_columns(), *_labels()]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif" role="img" '
        "aria-label=\"People use phi and Dagster's UI. Dagster runs six stages of assets. Each stage uses ports, and "
        'each port has an implementation on a laptop and on Azure.">'
    )
    marker = (
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>'
    )
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return "\n".join([head, marker, ground, *parts, "</svg>\n"])


def _people() -> Iterator[str]:
    top, height = PEOPLE
    for at, (title, text) in enumerate(
        (
            ("phi", "run, status, ask, why, promote"),
            ("Dagster's UI", "lineage, launchpad, checks"),
            ("programs", "/score, /v1/chat/completions"),
        )
    ):
        left = LEFT + at * 400 if at < 2 else WIDTH - GAP - 300
        yield _box(left, top, 300, height, GREY)
        yield _text(left + 150, top + 20, [title], bold=True)
        yield _text(left + 150, top + 37, [text], size=12)
        if at < 2:
            yield _arrow(left + 150, top + height, left + 150, DAGSTER[0])
    # Programs call the endpoint, past Dagster.
    serving = _left(4) + COLUMN / 2
    yield _arrow(WIDTH - GAP - 150, top + height, serving + 30, ASSETS[0])


def _dagster() -> Iterator[str]:
    top, height = DAGSTER
    width = _left(3) + COLUMN - LEFT
    yield _box(LEFT, top, width, height, BLUE)
    yield _text(LEFT + width / 2, top + 24, ["Dagster, on this machine"], bold=True)
    yield _text(
        LEFT + width / 2,
        top + 46,
        ["runs what is missing or stale · sensors: new_conversations, retraining_policy, alerts"],
        size=12,
    )
    into = _left(2) + COLUMN / 2
    yield _arrow(into, top + height, into, ASSETS[0])


def _columns() -> Iterator[str]:
    for at, stage in enumerate(STAGES):
        left = _left(at)
        yield _box(left, ASSETS[0], COLUMN, ASSETS[1], BLUE)
        yield _text(left + COLUMN / 2, ASSETS[0] + 24, [stage.name], bold=True)
        yield _text(left + COLUMN / 2, ASSETS[0] + 52, stage.assets, mono=True, step=22)
        if at:
            yield _arrow(left - GAP, ASSETS[0] + 20, left, ASSETS[0] + 20)
        yield _arrow(left + COLUMN / 2, sum(ASSETS), left + COLUMN / 2, PORTS[0])
        yield _box(left, PORTS[0], COLUMN, PORTS[1], GREY, dashed=True)
        first = PORTS[0] + (38 if len(stage.ports) == 1 else 28)
        yield _text(left + COLUMN / 2, first, stage.ports, mono=True, step=20)
        for (top, height), lines, colour in ((LAPTOP, stage.laptop, GREEN), (AZURE, stage.azure, ORANGE)):
            yield _box(left, top, COLUMN, height, colour)
            yield _text(left + COLUMN / 2, top + height / 2 + 5 - 9 * (len(lines) - 1), lines, step=18)
        yield _arrow(left + COLUMN / 2, sum(PORTS), left + COLUMN / 2, LAPTOP[0])


def _labels() -> Iterator[str]:
    rows = ((PEOPLE, ["you"]), (ASSETS, ["stages", "and assets"]), (PORTS, ["ports"]), (LAPTOP, ["on a", "laptop"]))
    for (top, height), lines in (*rows, (AZURE, ["on Azure"])):
        yield _text(16, top + height / 2 + 5 - 9 * (len(lines) - 1), lines, bold=True, step=18, anchor="start")


def _left(column: int) -> int:
    return LEFT + column * (COLUMN + GAP)


def _box(left: float, top: float, width: float, height: float, fill: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="8" fill="{fill}" '
        f'stroke="{LINE}"{dash}/>'
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{LINE}" stroke-width="1.5" '
        'marker-end="url(#arrow)"/>'
    )


def _text(
    x: float,
    y: float,
    lines: Sequence[str],
    *,
    size: float = 13,
    bold: bool = False,
    mono: bool = False,
    step: float = 18,
    anchor: str = "middle",
) -> str:
    style = f'font-size="{15 if bold else size:g}" fill="{INK}" text-anchor="{anchor}"'
    style += ' font-weight="600"' if bold else ""
    style += ' font-family="ui-monospace, Menlo, DejaVu Sans Mono, monospace" font-size="12.5"' if mono else ""
    if mono:
        style = style.replace(f'font-size="{size:g}" ', "", 1)
    return "\n".join(
        f'<text x="{x:g}" y="{y + at * step:g}" {style}>{escape(line)}</text>' for at, line in enumerate(lines)
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), encoding="utf-8")
