"""What the chat's server is given on every backend, and the question that it is asked before it takes over."""

import json
from pathlib import Path

from phi_assets.conversations.credentials import find_secrets
from phi_assets.errors import BackendError
from phi_assets.settings import Settings

QUESTION = "Hello! Who are you?"
TRIAL_SECONDS = 200.0
SEVERITIES = {"low": "2", "medium": "4", "high": "6"}  # the numbers of Azure AI Content Safety


def texts_of(system_prompt: str | None, words: str | None) -> dict[str, str]:
    """Return the texts of the files that are set, by setting.

    Raises BackendError for one that cannot be used: a system prompt with a secret in it, above all.
    """
    found: dict[str, str] = {}
    for name, file in (("PHI_CHAT_SYSTEM_PROMPT", system_prompt), ("PHI_CHAT_WORDS", words)):
        if file is None:
            continue
        try:
            found[name] = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise BackendError(f"{name}: {file} cannot be read ({e}); correct the path or the file") from e
        if name.endswith("PROMPT"):
            _require_no_secret(file, found[name])
    return found


def content_safety(settings: Settings) -> list[str]:
    """Return the server's options for Azure AI Content Safety; none without it."""
    if not settings.chat_content_safety:
        return []
    severity = SEVERITIES[settings.chat_content_safety_severity]
    return ["--content-safety", settings.chat_content_safety, "--content-safety-severity", severity]


def _require_no_secret(file: str, text: str) -> None:
    for found in find_secrets(text):
        line = text.count("\n", 0, found.start) + 1
        raise BackendError(
            f"PHI_CHAT_SYSTEM_PROMPT: {file}:{line} holds a secret ({found.entity}); anyone who chats can make a "
            "model repeat its prompt: remove it"
        )


def examples(questions_file: str | None) -> list[str]:
    """Return three questions to begin with, of those that the model is evaluated with."""
    try:
        lines = Path(questions_file).read_text(encoding="utf-8").splitlines() if questions_file else []
        rows = [json.loads(line) for line in lines[:3]]
        return [str(row["messages"][-1]["content"]) if "messages" in row else str(row["question"]) for row in rows]
    except (OSError, ValueError, LookupError, TypeError):
        return []  # `evaluation_questions` says what is wrong with the file


def ask(address: str, key: str, *, direct: bool = True) -> str:
    """Return the answer of a chat to QUESTION. Raises BackendError."""
    import httpx

    body = {"model": "tuned", "messages": [{"role": "user", "content": QUESTION}], "max_tokens": 24}
    try:
        with httpx.Client(timeout=TRIAL_SECONDS, trust_env=not direct) as client:
            reply = client.post(f"{address}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})
        if reply.status_code != 200:
            raise BackendError(
                f"the chat's server cannot answer, and nothing was changed: {reply.json()['error']['message']}"
            )
        return str(reply.json()["choices"][0]["message"]["content"])
    except (httpx.HTTPError, ValueError, LookupError) as e:
        raise BackendError(f"the chat's server does not answer, and nothing was changed: {e!r}") from e
