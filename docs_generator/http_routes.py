"""The endpoint's HTTP interface, from the server's own routes, request models, limits and refusals."""

import ast
import dataclasses
import json
from typing import Any

from docs_generator.markdown import page, table
from phi_assets.project import PROJECT

CODE = PROJECT / "serving_code"
HELP_KEYS = ("POST /score", "POST /v1/chat/completions", "POST /v1/completions")


def http_page() -> str:
    """Return the reference page of the endpoint."""
    # Imported here: the server brings torch.
    from starlette.routing import Route

    from serving_code.errors import TYPES
    from serving_code.limits import Limits
    from serving_code.openai_completions import CompletionBody
    from serving_code.openai_request import NAMES, ChatBody
    from serving_code.score_api import Params
    from serving_code.server import HELP, OPEN_PATHS, build_app
    from serving_code.service import Identity, Service

    app = build_app(Service(Identity()))
    routes = [
        (
            f"`{' '.join(sorted((route.methods or set()) - {'HEAD'}))} {route.path}`",
            "no" if route.path in OPEN_PATHS else "yes",
            (route.endpoint.__doc__ or "").splitlines()[0],
        )
        for route in app.routes
        if isinstance(route, Route)
    ]
    examples = {name: json.dumps(HELP[name], indent=2) for name in HELP_KEYS}
    limits = [(f"`{field.name}`", f"`{field.default}`") for field in dataclasses.fields(Limits)]
    errors = [(str(status), f"`{TYPES.get(status, 'invalid_request_error')}`", codes) for status, codes in refusals()]
    return page(
        "HTTP",
        "What a deployment serves, on a laptop and on Azure: one server, `serving_code/`. How to call it, with the key "
        "and from Python, is in [Call the endpoint](../how-to/endpoint.md).",
        "## Routes",
        table(("route", "needs the key", "what it answers"), routes),
        "The key is sent as `Authorization: Bearer <key>`. Every response has the headers "
        f"{', '.join(f'`{name}`' for name in Identity().headers())} and `x-request-id`; a request that sends an "
        "`x-request-id` of its own gets that one back.",
        "## POST /score",
        f"```json\n{examples['POST /score']}\n```",
        "`input_data` is a text, a list of texts, or a list of conversations, each a list of `role` and `content`. The "
        "response is a list with one text for each input. Fields of `params`:",
        _fields(Params),
        "A field that is not in this table is an error. Without `do_sample`, a temperature above 0 means sampling.",
        "## POST /v1/chat/completions",
        f"```json\n{examples['POST /v1/chat/completions']}\n```",
        f"OpenAI's chat completions, streamed with `stream`. Roles of a message: {NAMES}. Fields that are read:",
        _fields(ChatBody),
        "`response_format` takes `json_object` and `json_schema`: the answer can then only be JSON that fits, unless "
        "it is cut off. A `model` that is not served is a 404; without one, what is served answers. Fields that would "
        "change the answer and are not supported (tools, audio) are errors; other fields are ignored, and named in the "
        "server's log. The response is OpenAI's: `id`, `model`, "
        "`choices` with one `message` and its `finish_reason`, `usage`, and `system_fingerprint`, which names the "
        "deployment and the model version.",
        '`"truncation": "auto"` leaves out the oldest turns, never the system prompt and the last turn, until the '
        "answer has room; `usage.phi_dropped_turns` says how many. A client with a history of its own sends the header "
        "`x-phi-keep: no`: then the server stores neither question nor answer.",
        "What prompts of one caller begin with alike is read once; `usage.prompt_tokens_details.cached_tokens` says "
        "how many tokens that saved. One caller is one key with the same `cache_salt`, `prompt_cache_key`, "
        "`safety_identifier` and `user`.",
        "## POST /v1/completions",
        f"```json\n{examples['POST /v1/completions']}\n```",
        "OpenAI's completions: a text is continued without a chat template. Fields that are read:",
        _fields(CompletionBody),
        "## Limits",
        table(("limit", "default"), limits),
        "`max_concurrency` answers are decoded together, and `max_queue` more may wait; the next request gets 429 with "
        "`Retry-After`. Fewer are decoded together where the memory for their keys and values is not enough: "
        "`kv_memory_mb`, or 40% of what is free when the model is loaded. `max_body` is in bytes. A body that takes "
        "longer than `body_seconds` is refused (408), and a client that reads nothing for `write_seconds` is cut off.",
        "Web pages of other origins may call the server when it is started with `--cors-origins`.",
        "## Errors",
        'An error is `{"error": {"message", "type", "param", "code"}}`; the message says what to do.',
        table(("status", "type", "codes"), errors),
    )


def refusals() -> list[tuple[int, str]]:
    """Return each status that the server's sources refuse with, and the codes that go with it."""
    found: dict[int, set[str]] = {}
    for path in sorted(CODE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Refusal" and node.args:
                status = node.args[0]
                if isinstance(status, ast.Constant) and isinstance(status.value, int):
                    codes = {
                        ast.literal_eval(each.value)
                        for each in node.keywords
                        if each.arg == "code" and isinstance(each.value, ast.Constant)
                    }
                    found.setdefault(status.value, set()).update(codes)
    return [(status, ", ".join(f"`{code}`" for code in sorted(codes))) for status, codes in sorted(found.items())]


def _fields(model: Any) -> str:
    schema = model.model_json_schema()
    rows = []
    for name, field in schema["properties"].items():
        needed = name in schema.get("required", ())
        default = "required" if needed else f"`{json.dumps(field.get('default'))}`" if "default" in field else ""
        rows.append((f"`{name}`", _type(field), default))
    return table(("field", "value", "default"), rows)


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "object"
    if "anyOf" in field:
        return " or ".join(_type(each) for each in field["anyOf"] if each.get("type") != "null")
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "minItems": "at least"}
    limits = ", ".join(f"{word} {field[name]:g}" for name, word in bounds.items() if name in field)
    kind = f"list of {_plural(_type(field['items']))}" if field.get("type") == "array" else field.get("type", "")
    return ", ".join(part for part in (kind, limits) if part)


def _plural(kind: str) -> str:
    return f"lists{kind.removeprefix('list')}" if kind.startswith("list ") else f"{kind}s"
