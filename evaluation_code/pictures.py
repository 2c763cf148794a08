"""The picture of an evaluation: bits per byte and shares right of each model, with their 95% intervals."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = {"base": "#999999", "champion": "#E69F00", "tuned": "#0072B2"}


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Writes the picture as PNG, base, champion and tuned from left to right."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    models = {name: model for name in COLOURS if (model := report["models"].get(name))}
    left, right = figure.subplots(1, 2)
    _bits(left, report, models)
    _shares(right, models)
    figure.savefig(path, format="png", dpi=120)


def _bits(axes: Any, report: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    for name, model in models.items():
        value = model["bits_per_byte"]
        if value is None:
            axes.bar(name, 0.0)
            axes.annotate("not finite", (name, 0.0), ha="center", va="bottom")
            continue
        spread = [[value - model["bits_per_byte_lower"]], [model["bits_per_byte_upper"] - value]]
        axes.bar(name, value, color=COLOURS[name], yerr=spread, capsize=4)
        above = {"xytext": (0, 3), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        axes.annotate(f"{value:.3f}", (name, model["bits_per_byte_upper"]), **above)
    rows = report["test_split"]["rows"]
    axes.set_title(f"Completion bits per byte, {rows} test conversations (less is better)", fontsize=10)
    axes.set_xlabel("\n".join(_difference(report, other) for other in ("base", "champion") if other in models))
    axes.margins(y=0.15)


def _difference(report: Mapping[str, Any], other: str) -> str:
    comparison = report["comparisons"][other]
    if comparison is None or comparison["difference"] is None:
        return f"tuned - {other}: not computed"
    return "tuned - {}: {:+.3f} [{:+.3f}, {:+.3f}]".format(
        other, comparison["difference"], comparison["lower"], comparison["upper"]
    )


def _shares(axes: Any, models: Mapping[str, Any]) -> None:
    panels = {"evaluation questions right": lambda m: (m["questions"] or {}).get("all"), "general kept": _kept}
    width = 0.8 / len(models)
    for number, (name, model) in enumerate(models.items()):
        label: str | None = name
        for place, share_of in enumerate(panels.values()):
            share = share_of(model)
            if not share or share["share"] is None:
                continue
            centre = place + (number - (len(models) - 1) / 2) * width
            spread = [[share["share"] - share["lower"]], [share["upper"] - share["share"]]]
            axes.bar(centre, share["share"], width * 0.92, color=COLOURS[name], label=label, yerr=spread, capsize=4)
            axes.annotate(f"{share['share']:.0%}", (centre, share["upper"] + 0.02), ha="center", va="bottom")
            label = None
    axes.set_xticks(range(len(panels)), list(panels))
    axes.set_xlim(-0.5, len(panels) - 0.5)
    axes.set_ylim(0, 1.15)
    axes.set_title("Shares, with 95% Wilson intervals", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=3, frameon=False)
    else:
        axes.text(0.5, 0.5, "no questions", ha="center", transform=axes.transAxes)


def _kept(model: Mapping[str, Any]) -> Any:
    return model["general_kept"]
