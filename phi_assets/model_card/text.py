"""The card's text, without a time or a run, so that equal facts give equal bytes.

Every value of the template is escaped by `markdown.text`, unless it is Markdown.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from phi_assets import markdown
from phi_assets.markdown import Markdown
from phi_assets.model_card.facts import Facts
from phi_assets.model_card.licences import SEE_ITS_PAGE
from phi_assets.plain_text import plain_text

TEMPLATE = Path(__file__).with_name("card.jinja")
MODELS = {"tuned": "this model", "base": "base model", "champion": "champion before it"}
NOT_SAID = "not said (PHI_DATASET_LICENSE)"


def write(facts: Facts) -> str:
    """Return Markdown with the front matter that model hubs read."""
    from huggingface_hub import ModelCard
    from jinja2 import Environment

    template = Environment(finalize=markdown.text).from_string(TEMPLATE.read_text(encoding="utf-8"))
    content = template.render(
        front_matter=Markdown(_front_matter(facts).to_yaml()),
        facts=facts,
        command=_command(facts),
        code=markdown.code,
        block=markdown.block,
        joined=markdown.joined,
        base_licence="see the base model's page" if facts.base_licence == SEE_ITS_PAGE else facts.base_licence,
        data_licence=facts.data_licence or NOT_SAID,
        scores=_scores(facts.evaluation),
        comparisons=_comparisons(facts.evaluation),
    )
    return ModelCard(content).content.rstrip() + "\n"


def _command(facts: Facts) -> str:
    """Return the shell command that makes the model again."""
    chosen = {
        "PHI_BASE_MODEL": facts.base.source if facts.base else None,
        "PHI_PRESET": facts.trained.preset.split(" ")[0] if facts.trained else None,
    }
    return " ".join(
        [*(f"{name}={shlex.quote(plain_text(value))}" for name, value in chosen.items() if value), "phi run"]
    )


def _front_matter(facts: Facts) -> Any:
    from huggingface_hub import ModelCardData

    more: dict[str, Any] = {"dataset_license": facts.data_licence and plain_text(facts.data_licence)}
    if facts.base_licence == SEE_ITS_PAGE:
        more["license_name"] = "see-the-base-model"
    repository = facts.base.source.removeprefix("hf:").partition("@")[0] if facts.base else ""
    return ModelCardData(
        model_name=f"{facts.model.name} {facts.model.version}",
        base_model=plain_text(repository) if facts.base and facts.base.source.startswith("hf:") else None,
        library_name="transformers",
        pipeline_tag="text-generation",
        license=plain_text(facts.base_licence),
        tags=["phi3", "chat"],
        eval_results=_results(facts),
        **more,
    )


def _results(facts: Facts) -> list[Any] | None:
    from huggingface_hub import EvalResult

    tuned = facts.evaluation["models"]["tuned"] if facts.evaluation else {}
    asked = (tuned.get("questions") or {}).get("all") or {}
    values = {
        ("bits_per_byte", "bits per byte, test split"): tuned.get("bits_per_byte"),
        ("accuracy", "evaluation questions right"): asked.get("share") if asked.get("count") else None,
    }
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="chat",
            dataset_name=f"chat_dataset {facts.model.dataset_digest[:12]}",
            metric_type=kind,
            metric_name=name,
            metric_value=round(value, 4),
        )
        for (kind, name), value in values.items()
        if value is not None
    ] or None


def _scores(report: Mapping[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Return a row for each model: its name, bits per byte, questions right, general questions kept."""
    models = {name: found for name, found in (report or {"models": {}})["models"].items() if found}
    return [
        (
            MODELS[name],
            "not finite" if found["bits_per_byte"] is None else f"{found['bits_per_byte']:.3f}",
            _share((found["questions"] or {}).get("all")),
            _share(found["general_kept"]),
        )
        for name, found in models.items()
    ]


def _comparisons(report: Mapping[str, Any] | None) -> list[str]:
    """Return a line for each model that this one was compared with."""
    found = {name: numbers for name, numbers in (report or {"comparisons": {}})["comparisons"].items() if numbers}
    names = {"base": "the base model", "champion": "the champion before it"}
    return [
        f"{numbers['difference']:+.4f} bits per byte against {names.get(name, name)}, "
        f"95% bounds {numbers['lower']:+.4f} to {numbers['upper']:+.4f} (below zero: better)"
        for name, numbers in found.items()
        if None not in (numbers["difference"], numbers["lower"], numbers["upper"])
    ]


def _share(found: Mapping[str, Any] | None) -> str:
    return f"{found['right']} of {found['count']} ({found['share']:.0%})" if found and found["count"] else "none asked"
