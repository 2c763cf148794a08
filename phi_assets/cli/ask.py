"""`phi ask`: sends a question to the deployed model or the base model, and reports the provenance of the answer."""

import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.answer_log import BASE, Answers, AnswersUnreadable
from phi_assets.backends.select import build_resources, served_model
from phi_assets.cli.console import print_error
from phi_assets.endpoint_client import Answer, NoAnswer, chat
from phi_assets.records import BaseModel, Deployment
from phi_assets.settings import Settings
from serving_code.answers import StoredAnswer

# Dagster takes longer to import than a short answer takes: only what needs it imports it.
if TYPE_CHECKING:
    from phi_assets.ports.chat import SharedAnswers

MAX_NEW_TOKENS = 128


class NothingDeployed(RuntimeError):
    """No model is available to answer."""


def ask_deployed(settings: Settings, question: str) -> dict[str, Any]:
    """Return the answer with its deployment, model version, dataset and Dagster run. Raises NothingDeployed."""
    served = served_model(settings)
    deployment = served.deployment
    if not isinstance(deployment, Deployment) or not served.address:
        raise NothingDeployed(f"nothing is deployed, or the deployment is not running; {served.remedy}")
    try:
        answer = chat(served.address, served.key(), _messages(question), max_new_tokens=MAX_NEW_TOKENS)
    except NoAnswer as e:
        raise NothingDeployed(f"{e}; {served.remedy}") from e
    if not served.keeps_answers:
        same = answer.model_version == deployment.model_version
        digest = deployment.model_digest if same else ""  # the traffic may have just moved to another version
        _keep(settings, served.shared_answers, question, answer, model_digest=digest)
    return {
        "question": question,
        "answer": answer.text,
        "id": answer.id,
        "deployment": answer.deployment,
        "model": answer.model_name,
        "model_version": answer.model_version,
        "dataset_digest": deployment.dataset_digest,
        "dagster_run": deployment.training_run,
    }


def ask_base(settings: Settings, question: str) -> dict[str, Any]:
    """Return the answer of the base model, loaded from its folder. Raises NothingDeployed when it does not exist."""
    import dagster as dg

    from serving_code.engine import Engine, Sampling

    resources = build_resources(settings)
    base = resources["io_manager"].latest(dg.AssetKey("base_model"))
    if not isinstance(base, BaseModel):
        raise NothingDeployed("there is no base model yet; `phi run` makes it")
    folder: Path = resources["base_model_store"].folder(base)
    sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS)
    found = Engine.load(folder).complete([_messages(question)], sampling)[0]
    answer = Answer(found.text, f"{BASE}-{uuid.uuid4().hex}", deployment="", model_name=base.source, model_version="")
    _keep(settings, resources.get("shared_answers"), question, answer, model_digest=base.digest, route=BASE)
    return {
        "question": question,
        "answer": found.text,
        "id": answer.id,
        "model": base.source,
        "base_model_digest": base.digest,
        "dagster_run": _run_of(settings, "base_model"),
    }


def provenance(answer: dict[str, Any]) -> str:
    """Return the provenance of an answer as one line."""
    shown = {name: value for name, value in answer.items() if name not in ("question", "answer") and value}
    return "  ".join(f"{name.replace('_', ' ')} {value}" for name, value in shown.items())


def _messages(question: str) -> list[Any]:
    return [{"role": "user", "content": question}]


def _keep(
    settings: Settings,
    shared: "SharedAnswers | None",
    question: str,
    answer: Answer,
    *,
    model_digest: str,
    route: str = "phi ask",
) -> None:
    """Store the answer for `phi why`; print a warning if that fails."""
    kept = StoredAnswer(
        id=answer.id,
        at=time.time(),
        route=route,
        deployment=answer.deployment,
        model_name=answer.model_name,
        model_version=answer.model_version,
        model_digest=model_digest,
        messages=_messages(question),
        answer=answer.text,
    )
    try:
        Answers(settings.state, settings.keep_answers_days).keep(kept)
    except AnswersUnreadable as e:
        print_error(f"the answer is not stored: {e}")
    if shared:
        from phi_assets.errors import BackendError

        try:
            shared.share(kept, settings.keep_answers_days)
        except BackendError as e:
            print_error(f"other machines do not see the answer: {e.description or e}")


def answers_of(settings: Settings, resources: Mapping[str, Any]) -> Answers:
    """Return the stored answers, with those of other machines; prints a warning if these cannot be read."""
    answers = Answers(settings.state, settings.keep_answers_days)
    shared: SharedAnswers | None = resources.get("shared_answers")
    if shared:
        from phi_assets.errors import BackendError

        try:
            shared.fetch(answers)
        except BackendError as e:
            print_error(f"answers that other machines stored are not known: {e.description or e}")
    return answers


def _run_of(settings: Settings, asset: str) -> str | None:
    from phi_assets.graph.asset_keys import key_of
    from phi_assets.instance import home

    with home.instance(settings) as instance:
        event = instance.get_latest_materialization_event(key_of(asset))
    return event.run_id if event else None
