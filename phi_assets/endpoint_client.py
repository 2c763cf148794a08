"""A client of the endpoint's two routes: our own HTTP calls, so that one deployment can be asked by name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 200.0  # longer than Azure lets an answer take, so that its own word for it arrives
DEPLOYMENT_HEADER = "azureml-model-deployment"
# Azure answers 424 for any status of the container's but 200, and says here which it was.
STATUS_HEADER = "ms-azureml-model-error-statuscode"
TRIES = 5
FIRST_WAIT, LONGEST_WAIT = 0.5, 10.0
# The gateway's own, or a full house: worth asking again. A container's own failure is not.
TRANSIENT = frozenset({429, 502, 503, 504})
QUESTION = "Hello! Who are you?"
SMOKE_TOKENS, FEW_TOKENS = 32, 8


class NoAnswer(RuntimeError):
    """The endpoint did not answer, or not as it should. `deployment` is who failed, where the answer said so.

    `passes`: nobody was reached, or the house was full, so that nothing is known of who was asked.
    """

    def __init__(self, message: str, status: int | None = None, deployment: str = "", *, passes: bool = False) -> None:
        super().__init__(message)
        self.status, self.deployment, self.passes = status, deployment, passes


@dataclass(frozen=True)
class Answer:
    """What was answered, under which id, and by which deployment and model version; `complete`: not cut off."""

    text: str
    id: str
    deployment: str
    model_name: str
    model_version: str
    complete: bool = True


def chat(
    address: str,
    key: str,
    messages: Sequence[Mapping[str, str]],
    *,
    deployment: str | None = None,
    max_new_tokens: int = 128,
) -> Answer:
    """The greedy answer to a conversation; `deployment` pins the request to one. Raises NoAnswer."""
    body = {"messages": list(messages), "max_completion_tokens": max_new_tokens, "temperature": 0}
    reply = _post(f"{address}/v1/chat/completions", key, body, deployment)
    try:
        completion = reply.json()
        choice = completion["choices"][0]
        complete = choice.get("finish_reason") != "length"
        return _answer(reply, str(choice["message"]["content"]), str(completion["id"]), complete=complete)
    except (ValueError, LookupError, TypeError) as e:
        raise _not_understood(address, reply) from e


def score(address: str, key: str, text: str, *, deployment: str | None = None, max_new_tokens: int = 128) -> Answer:
    """The greedy answer to a text by the other route, without the text itself. Raises NoAnswer."""
    params = {"max_new_tokens": max_new_tokens, "do_sample": False, "return_full_text": False}
    reply = _post(f"{address}/score", key, {"input_data": [text], "params": params}, deployment)
    try:
        return _answer(reply, str(reply.json()[0]), reply.headers.get("x-request-id", ""))
    except (ValueError, LookupError, TypeError) as e:
        raise _not_understood(address, reply) from e


def smoke_test(address: str, key: str, deployment: str, model_name: str, model_version: str) -> str:
    """The deployment's answer to QUESTION in FEW_TOKENS, after it has proven itself. Raises NoAnswer.

    Proven: it answered itself, as this version of this model, with words; by either route with the same ones; and when
    it was cut off earlier, with the beginning of them. All of it is greedy, so a model that is asked rightly cannot but
    do so. Whether its answers are good is the evaluation's affair, before the model is registered.
    """

    def ask(tokens: int) -> Answer:
        messages = [{"role": "user", "content": QUESTION}]
        return chat(address, key, messages, deployment=deployment, max_new_tokens=tokens)

    whole, few = ask(SMOKE_TOKENS), ask(FEW_TOKENS)
    other = score(address, key, QUESTION, deployment=deployment, max_new_tokens=SMOKE_TOKENS)
    for answer in (whole, few, other):
        require_from(answer, deployment, model_name, model_version)
    if not whole.text.strip():
        raise NoAnswer(f"deployment {deployment} answered with nothing", None, deployment)
    if whole.text != other.text:
        raise NoAnswer(
            f"deployment {deployment} answered the same question by /v1/chat/completions with {whole.text[:80]!r} "
            f"and by /score with {other.text[:80]!r}; greedy answers must be equal",
            None,
            deployment,
        )
    # A character of several tokens may be cut in two.
    begins = whole.text.startswith(few.text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip())
    if not begins or (not few.complete and whole.text == few.text):
        raise NoAnswer(
            f"deployment {deployment} answered with {few.text[:80]!r} when it was cut off after {FEW_TOKENS} tokens, "
            f"and with {whole.text[:80]!r} after {SMOKE_TOKENS}; the one must be the beginning of the other",
            None,
            deployment,
        )
    return few.text


def require_from(answer: Answer, deployment: str, model_name: str, model_version: str) -> None:
    """The answer is signed by this deployment of this model version. Raises NoAnswer."""
    if answer.deployment != deployment:
        by = answer.deployment or "nobody by name"
        raise NoAnswer(f"deployment {deployment} was asked, {by} answered", deployment=deployment)
    if (answer.model_name, answer.model_version) != (model_name, model_version):
        serves = f"{answer.model_name or 'no model by name'}:{answer.model_version}"
        raise NoAnswer(f"deployment {deployment} serves {serves}, not {model_name}:{model_version}", None, deployment)


def _post(url: str, key: str, body: Mapping[str, Any], deployment: str | None) -> Any:
    """The answer 200, asked for again where that may help. Raises NoAnswer with the container's own status."""
    import httpx

    headers = {"authorization": f"Bearer {key}", **({DEPLOYMENT_HEADER: deployment} if deployment else {})}
    # A machine's own address is never reached by the proxy that the environment may name; Azure's may be.
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=not _is_here(url)) as client:
        for attempt in range(1, TRIES + 1):
            try:
                reply = client.post(url, json=body, headers=headers)
            except httpx.TransportError as e:
                if attempt == TRIES or isinstance(e, httpx.ReadTimeout) or _is_here(url):
                    raise NoAnswer(f"{url} cannot be reached: {e!r}", passes=True) from e
                time.sleep(_wait(attempt))
                continue
            status = int(reply.headers.get(STATUS_HEADER, reply.status_code))
            if status == 200:
                return reply
            retried = TRANSIENT if reply.status_code != 424 else {429, 503}
            if status not in retried or attempt == TRIES:
                by = reply.headers.get(DEPLOYMENT_HEADER, "")
                raise NoAnswer(_refusal(url, status, reply), status, by, passes=status in retried)
            time.sleep(_wait(attempt, reply.headers.get("retry-after")))
    raise AssertionError("the last attempt returns or raises")


def _wait(attempt: int, asked: str | None = None) -> float:
    if asked and asked.isdigit():
        return min(float(asked), LONGEST_WAIT)
    return min(FIRST_WAIT * 2 ** (attempt - 1), LONGEST_WAIT)


def _refusal(url: str, status: int, reply: Any) -> str:
    said = _said(reply)
    if status == 408:
        said += "; the answer took longer than the endpoint allows: ask for fewer tokens"
    return f"{url} answered {status}: {said}"


def _said(reply: Any) -> str:
    """The message of an error in OpenAI's shape, or the beginning of whatever it is."""
    try:
        return str(reply.json()["error"]["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return reply.text[:500]


def _not_understood(address: str, reply: Any) -> NoAnswer:
    told = f"{address} answered 200 with something else than an answer: {reply.text[:200]}"
    return NoAnswer(told, None, reply.headers.get(DEPLOYMENT_HEADER, ""))


def _answer(reply: Any, text: str, id: str, *, complete: bool = True) -> Answer:
    return Answer(
        text=text,
        id=id,
        deployment=reply.headers.get(DEPLOYMENT_HEADER, ""),
        model_name=reply.headers.get("x-model-name", ""),
        model_version=reply.headers.get("x-model-version", ""),
        complete=complete,
    )


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
