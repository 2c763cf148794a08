"""An HTTP client of the endpoint's two routes, which can address one deployment by name."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 200.0  # longer than Azure's request timeout, so that Azure's own error arrives
DEPLOYMENT_HEADER = "azureml-model-deployment"
# Azure answers 424 for any container status but 200, and puts the status into this header.
STATUS_HEADER = "ms-azureml-model-error-statuscode"
TRIES = 5
FIRST_WAIT, MAX_WAIT = 0.5, 10.0
# Errors of the gateway, or an overloaded server: retried. A failure of the container is not.
TRANSIENT = frozenset({429, 502, 503, 504})
QUESTION = "Hello! Who are you?"
SMOKE_TOKENS, FEW_TOKENS = 32, 8
USUAL_TOKENS = 128  # of an answer, unless the client asks for another number


class NoAnswer(RuntimeError):
    """The endpoint gave no valid answer. `deployment` is the one that failed, if the response names it.

    `passes`: the error is transient (unreachable or overloaded), and says nothing about the deployment.
    """

    def __init__(self, message: str, status: int | None = None, deployment: str = "", *, passes: bool = False) -> None:
        super().__init__(message)
        self.status, self.deployment, self.passes = status, deployment, passes


@dataclass(frozen=True)
class Answer:
    """An answer with its id, deployment and model version; `complete`: not truncated by the token limit.

    `tokens` is its length, 0 where the endpoint does not say; `seconds` is how long it took.
    """

    text: str
    id: str
    deployment: str
    model_name: str
    model_version: str
    complete: bool = True
    tokens: int = 0
    seconds: float = 0.0


def chat(
    address: str,
    key: str,
    messages: Sequence[Mapping[str, str]],
    *,
    deployment: str | None = None,
    max_new_tokens: int = USUAL_TOKENS,
) -> Answer:
    """The greedy answer to a conversation; `deployment` pins the request to one. Raises NoAnswer."""
    body = {"messages": list(messages), "max_completion_tokens": max_new_tokens, "temperature": 0}
    began = time.monotonic()
    reply = _post(f"{address}/v1/chat/completions", key, body, deployment)
    seconds = time.monotonic() - began
    try:
        completion = reply.json()
        choice = completion["choices"][0]
        complete = choice.get("finish_reason") != "length"
        answer = _answer(reply, str(choice["message"]["content"]), str(completion["id"]), complete=complete)
        return replace(answer, tokens=int((completion.get("usage") or {}).get("completion_tokens", 0)), seconds=seconds)
    except (ValueError, LookupError, TypeError) as e:
        raise _invalid(address, reply) from e


def score(address: str, key: str, text: str, *, deployment: str | None = None, max_new_tokens: int = 128) -> Answer:
    """The greedy answer to a text by the /score route, without the text itself. Raises NoAnswer."""
    params = {"max_new_tokens": max_new_tokens, "do_sample": False, "return_full_text": False}
    reply = _post(f"{address}/score", key, {"input_data": [text], "params": params}, deployment)
    try:
        return _answer(reply, str(reply.json()[0]), reply.headers.get("x-request-id", ""))
    except (ValueError, LookupError, TypeError) as e:
        raise _invalid(address, reply) from e


def smoke_test(
    address: str,
    key: str,
    deployment: str,
    model_name: str,
    model_version: str,
    *,
    request_seconds: float | None = None,
) -> str:
    """Test the deployment and return its answer to QUESTION in FEW_TOKENS. Raises NoAnswer.

    The test passes if this deployment answers as this model version, with text; with the same text on both routes; and
    with the beginning of that text under a smaller token limit. Decoding is greedy, so every correctly served model
    does. The quality of the answers is evaluated earlier, before the model is registered.

    With `request_seconds`, after which the endpoint ends a request, an answer of USUAL_TOKENS must take less.
    """

    def ask(tokens: int) -> Answer:
        messages = [{"role": "user", "content": QUESTION}]
        return chat(address, key, messages, deployment=deployment, max_new_tokens=tokens)

    full, few = ask(SMOKE_TOKENS), ask(FEW_TOKENS)
    other = score(address, key, QUESTION, deployment=deployment, max_new_tokens=SMOKE_TOKENS)
    for answer in (full, few, other):
        require_from(answer, deployment, model_name, model_version)
    if not full.text.strip():
        raise NoAnswer(f"deployment {deployment} gave an empty answer", None, deployment)
    if full.text != other.text:
        raise NoAnswer(
            f"deployment {deployment} answered the same question by /v1/chat/completions with {full.text[:80]!r} "
            f"and by /score with {other.text[:80]!r}; greedy answers must be equal",
            None,
            deployment,
        )
    # The limit may cut a character of several tokens.
    begins = full.text.startswith(few.text.rstrip("\N{REPLACEMENT CHARACTER}").rstrip())
    if not begins or (not few.complete and full.text == few.text):
        raise NoAnswer(
            f"deployment {deployment} answered with {few.text[:80]!r} when it was cut off after {FEW_TOKENS} tokens, "
            f"and with {full.text[:80]!r} after {SMOKE_TOKENS}; the one must be the beginning of the other",
            None,
            deployment,
        )
    require_in_time(full, deployment, request_seconds)
    return few.text


def require_in_time(answer: Answer, deployment: str, request_seconds: float | None) -> None:
    """Check that an answer of USUAL_TOKENS, at this answer's speed, ends in time. Raises NoAnswer."""
    if request_seconds is None or not answer.tokens:
        return
    seconds = answer.seconds / answer.tokens * USUAL_TOKENS
    if seconds > request_seconds:
        fewer = max(int(request_seconds / seconds * USUAL_TOKENS), 1)
        raise NoAnswer(
            f"deployment {deployment} would need {seconds:.0f} s for an answer of {USUAL_TOKENS} tokens, and the "
            f"endpoint ends a request after {request_seconds:.0f} s: take a larger machine or a smaller model; "
            f"answers of at most {fewer} tokens would end in time",
            None,
            deployment,
        )


def require_from(answer: Answer, deployment: str, model_name: str, model_version: str) -> None:
    """Check that the answer is from this deployment of this model version. Raises NoAnswer."""
    if answer.deployment != deployment:
        by = answer.deployment or "an unnamed deployment"
        raise NoAnswer(f"the request was for deployment {deployment}, but {by} answered", deployment=deployment)
    if (answer.model_name, answer.model_version) != (model_name, model_version):
        serves = f"{answer.model_name or 'an unnamed model'}:{answer.model_version}"
        raise NoAnswer(f"deployment {deployment} serves {serves}, not {model_name}:{model_version}", None, deployment)


def _post(url: str, key: str, body: Mapping[str, Any], deployment: str | None) -> Any:
    """POST, retry transient errors, and return the 200 response. Raises NoAnswer with the container's own status."""
    import httpx

    headers = {"authorization": f"Bearer {key}", **({DEPLOYMENT_HEADER: deployment} if deployment else {})}
    # A loopback address is not reachable through a proxy of the environment; Azure's address may need it.
    with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=not _is_loopback(url)) as client:
        for attempt in range(1, TRIES + 1):
            try:
                reply = client.post(url, json=body, headers=headers)
            except httpx.TransportError as e:
                if attempt == TRIES or isinstance(e, httpx.ReadTimeout) or _is_loopback(url):
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


def _wait(attempt: int, retry_after: str | None = None) -> float:
    if retry_after and retry_after.isdigit():
        return min(float(retry_after), MAX_WAIT)
    return min(FIRST_WAIT * 2 ** (attempt - 1), MAX_WAIT)


def _refusal(url: str, status: int, reply: Any) -> str:
    message = _message(reply)
    if status == 408:
        message += "; the answer took longer than the endpoint allows: ask for fewer tokens"
    return f"{url} answered {status}: {message}"


def _message(reply: Any) -> str:
    """The message of an error in OpenAI's format, or the beginning of the body."""
    try:
        return str(reply.json()["error"]["message"])[:500]
    except (ValueError, LookupError, TypeError):
        return reply.text[:500]


def _invalid(address: str, reply: Any) -> NoAnswer:
    message = f"{address} answered 200 with an invalid body: {reply.text[:200]}"
    return NoAnswer(message, None, reply.headers.get(DEPLOYMENT_HEADER, ""))


def _answer(reply: Any, text: str, id: str, *, complete: bool = True) -> Answer:
    return Answer(
        text=text,
        id=id,
        deployment=reply.headers.get(DEPLOYMENT_HEADER, ""),
        model_name=reply.headers.get("x-model-name", ""),
        model_version=reply.headers.get("x-model-version", ""),
        complete=complete,
    )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
