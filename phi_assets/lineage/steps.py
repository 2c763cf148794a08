"""A lineage as a list of steps for display."""

from dataclasses import dataclass

from phi_assets.answer_log import when
from phi_assets.lineage.trace import Lineage

SIMILARITY = (
    "Training conversations nearest to question and answer, by the words that they share (TF-IDF cosine, 0 to 1). "
    "This is similarity, not proof that the answer came from them."
)
REVIEWED = "feedback of the chat, which a person approved"
NOT_KNOWN = "not known"
DIGITS = 12


@dataclass(frozen=True)
class Step:
    """One step of the path. `run` and `asset` are its pages in Dagster, `url` another page."""

    what: str
    words: str
    run: str = ""
    asset: str = ""
    url: str = ""


def steps(lineage: Lineage) -> list[Step]:
    """Return the steps from the answer back to the data."""
    answer, by, trained = lineage.answer, lineage.deployed, lineage.trained
    at = f"since {when(by.at)}" if by else "when is not known"
    at += f", with {by.form} weights" if by and by.form != "full" else ""
    model = f"{answer.model_name} {answer.model_version}"
    state = f", {lineage.model_state}" if lineage.model_state else ""
    rows = lineage.dataset.rows if lineage.dataset else {}
    counts = ", ".join(f"{count} {split}" for split, count in rows.items())
    replayed = f"conversations of the base, {_digest(trained.replay_digest)}"
    return [
        Step("answer", f"{answer.id}, {when(answer.at)}, by {answer.route}"),
        Step("deployment", f"{answer.deployment or NOT_KNOWN}, {at}", by.run if by else "", "online_deployment"),
        Step("model version", f"{model}{state}, {_digest(lineage.model_digest)}", asset="registered_model"),
        Step(
            "training",
            f"preset {trained.preset or NOT_KNOWN}, code {trained.code_version or NOT_KNOWN}",
            trained.run,
            "fine_tuned_model",
        ),
        Step("tracked as", lineage.job or NOT_KNOWN, url=lineage.page),
        Step("dataset", ", ".join(filter(None, (_digest(trained.dataset_digest), counts))), asset="chat_dataset"),
        Step("read from", "; ".join(lineage.files) or NOT_KNOWN, asset="raw_conversations"),
        Step(
            "base model",
            f"{lineage.base_source or 'its folder is gone'}, {_digest(trained.base_digest)}"
            if trained.base_digest
            else NOT_KNOWN,
            asset="base_model",
        ),
        *([Step("replayed", replayed, asset="replay_conversations")] if trained.replay_digest else []),
    ]


def _digest(digest: str) -> str:
    return f"digest {digest[:DIGITS]}" if digest else f"digest {NOT_KNOWN}"
