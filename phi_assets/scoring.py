"""A client of the endpoint's chat route: our own HTTP call, so that one deployment can be asked by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TIMEOUT_SECONDS = 180.0
DEPLOYMENT_HEADER = "azureml-model-deployment"


class NoAnswer(RuntimeError):
    """The endpoint did not answer, or not as it should."""


@dataclass(frozen=True)
class Answer:
    """What was answered, under which id, and by which deployment and model version."""

    text: str
    id: str
    deployment: str
    model_name: str
    model_version: str


def chat(
    address: str,
    key: str,
    messages: Sequence[Mapping[str, str]],
    *,
    deployment: str | None = None,
    max_new_tokens: int = 128,
) -> Answer:
    """The greedy answer to a conversation; `deployment` pins the request to one. Raises NoAnswer."""
    import httpx

    headers = {"authorization": f"Bearer {key}"}
    if deployment:
        headers[DEPLOYMENT_HEADER] = deployment
    body = {"messages": list(messages), "max_completion_tokens": max_new_tokens, "temperature": 0}
    try:
        reply = httpx.post(
            f"{address}/v1/chat/completions", json=body, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        )
    except httpx.HTTPError as e:
        raise NoAnswer(f"{address} cannot be reached: {e!r}") from e
    if reply.status_code != 200:
        raise NoAnswer(f"{address} answered {reply.status_code}: {reply.text[:500]}")
    completion = reply.json()
    return Answer(
        text=completion["choices"][0]["message"]["content"],
        id=completion["id"],
        deployment=reply.headers.get(DEPLOYMENT_HEADER, ""),
        model_name=reply.headers.get("x-model-name", ""),
        model_version=reply.headers.get("x-model-version", ""),
    )


def smoke_test(address: str, key: str, deployment: str) -> None:
    """Return when the deployment itself answered a question with words. Raises NoAnswer."""
    answer = chat(address, key, [{"role": "user", "content": "Hello! Who are you?"}], deployment=deployment)
    if answer.deployment != deployment:
        raise NoAnswer(f"deployment {deployment} was asked, {answer.deployment or 'nobody by name'} answered")
    if not answer.text.strip():
        raise NoAnswer(f"deployment {deployment} answered with nothing")
