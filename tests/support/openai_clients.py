"""What four OpenAI clients get from an endpoint, as JSON: run by the Python of an environment that has them.

    python openai_clients.py <address of /v1> <key> <model> <empty folder>

Each client gives an answer for each word of FEATURES; what it has no way to ask for is None, an error its message.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ADDRESS, KEY, MODEL, FOLDER = (*sys.argv[1:], "", "", "", "")[:4]
MESSAGES = [{"role": "user", "content": "How do I reset the pump?"}]
TOKENS, ENOUGH_FOR_JSON = 24, 200
SCHEMA = {
    "title": "verdict",
    "type": "object",
    "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["verdict"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA, "strict": True}}


def of_openai() -> dict[str, Callable[[], object]]:
    import openai

    client = openai.OpenAI(base_url=ADDRESS, api_key=KEY, max_retries=0)

    def ask(**fields: object) -> object:
        fields = {"model": MODEL, "messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0, **fields}
        return client.chat.completions.create(**fields)

    def stream() -> str:
        return "".join(piece.choices[0].delta.content or "" for piece in ask(stream=True) if piece.choices)

    return {
        "answer": lambda: ask().choices[0].message.content,
        "stream": stream,
        "json_schema": lambda: json.loads(
            ask(response_format=FORMAT, max_tokens=ENOUGH_FOR_JSON).choices[0].message.content
        ),
        "stop": lambda: ask(stop=[ask().choices[0].message.content[3:5]]).choices[0].message.content,
        "logprobs": lambda: len(ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content[0].top_logprobs),
        "usage": lambda: ask().usage.completion_tokens,
        "unknown model": lambda: ask(model="another"),
        "models": lambda: [each.id for each in client.models.list()],
    }


def of_litellm() -> dict[str, Callable[[], object]]:
    import litellm

    litellm.suppress_debug_info = True

    def ask(model: str = MODEL, **fields: object) -> object:
        fields = {"messages": MESSAGES, "max_tokens": TOKENS, "temperature": 0, "num_retries": 0, **fields}
        return litellm.completion(f"openai/{model}", api_base=ADDRESS, api_key=KEY, **fields)

    def stream() -> str:
        return "".join(piece.choices[0].delta.content or "" for piece in ask(stream=True) if piece.choices)

    return {
        "answer": lambda: ask().choices[0].message.content,
        "stream": stream,
        "json_schema": lambda: json.loads(
            ask(response_format=FORMAT, max_tokens=ENOUGH_FOR_JSON).choices[0].message.content
        ),
        "stop": lambda: ask(stop=[ask().choices[0].message.content[3:5]]).choices[0].message.content,
        "logprobs": lambda: len(ask(logprobs=True, top_logprobs=2).choices[0].logprobs.content[0].top_logprobs),
        "usage": lambda: ask().usage.completion_tokens,
        "unknown model": lambda: ask("another"),
        "models": lambda: None,
    }


def of_langchain() -> dict[str, Callable[[], object]]:
    from langchain_openai import ChatOpenAI

    def chat(model: str = MODEL, **fields: object) -> ChatOpenAI:
        fields = {"max_tokens": TOKENS, "temperature": 0, "max_retries": 0, **fields}
        return ChatOpenAI(model=model, base_url=ADDRESS, api_key=KEY, **fields)

    def logprobs() -> int:
        answer = chat(logprobs=True, top_logprobs=2).invoke(MESSAGES)
        return len(answer.response_metadata["logprobs"]["content"][0]["top_logprobs"])

    return {
        "answer": lambda: chat().invoke(MESSAGES).content,
        "stream": lambda: "".join(piece.content for piece in chat().stream(MESSAGES)),
        "json_schema": lambda: (
            chat(max_tokens=ENOUGH_FOR_JSON).with_structured_output(SCHEMA, method="json_schema").invoke(MESSAGES)
        ),
        "stop": lambda: chat().invoke(MESSAGES, stop=[chat().invoke(MESSAGES).content[3:5]]).content,
        "logprobs": logprobs,
        "usage": lambda: chat().invoke(MESSAGES).usage_metadata["output_tokens"],
        "unknown model": lambda: chat("another").invoke(MESSAGES),
        "models": lambda: None,
    }


def of_llm() -> dict[str, Callable[[], object]]:
    entry = {
        "model_id": "ours",
        "model_name": MODEL,
        "api_base": ADDRESS,
        "api_key_name": "ours",
        "supports_schema": True,
    }
    wrong = {**entry, "model_id": "wrong", "model_name": "another"}
    Path(FOLDER, "extra-openai-models.yaml").write_text(json.dumps([entry, wrong]), encoding="utf-8")
    Path(FOLDER, "keys.json").write_text(json.dumps({"ours": KEY}), encoding="utf-8")

    def run(*words: str, model: str = "ours", tokens: int = TOKENS) -> str:
        options = ["-m", model, "-o", "temperature", "0", "-o", "max_tokens", str(tokens)]
        done = subprocess.run(
            [sys.executable, "-m", "llm", *words, *options],
            env={**os.environ, "LLM_USER_PATH": FOLDER},
            input=MESSAGES[0]["content"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return done.stdout.removesuffix("\n")

    return {
        "answer": lambda: run("--no-stream"),
        "stream": lambda: run(),
        "json_schema": lambda: json.loads(run("--no-stream", "--schema", json.dumps(SCHEMA), tokens=ENOUGH_FOR_JSON)),
        "stop": lambda: None,
        "logprobs": lambda: None,
        "usage": lambda: None,
        "unknown model": lambda: run("--no-stream", model="wrong"),
        "models": lambda: None,
    }


CLIENTS = {"openai": of_openai, "litellm": of_litellm, "langchain-openai": of_langchain, "llm": of_llm}


def got(ask: Callable[[], object]) -> object:
    try:
        found = ask()
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return found if isinstance(found, str | int | list | dict | None) else str(found)


if __name__ == "__main__":
    print(json.dumps({name: {word: got(ask) for word, ask in of().items()} for name, of in CLIENTS.items()}))
