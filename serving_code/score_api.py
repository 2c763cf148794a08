"""POST /score: `{"input_data": ..., "params": ...}` in, a list of texts out, one per input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse

from serving_code.chat_text import UnreadableContent, role_of, text_of
from serving_code.engine import Sampling
from serving_code.errors import Refusal, nearest
from serving_code.limits import Limits, read_json
from serving_code.prompts import Message
from serving_code.service import Asked, Service, caller_of


class Params(BaseModel):
    """Generation parameters, with the names and defaults of transformers' text-generation pipeline."""

    model_config = ConfigDict(extra="forbid", strict=True)

    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    do_sample: bool | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    return_full_text: bool = True
    stop: str | list[str] = Field(default_factory=list)
    seed: int | None = None

    def sampling(self, limits: Limits) -> Sampling:
        """Without `do_sample`, a temperature above 0 means sampling; sampling without a temperature means 1."""
        sampled = self.do_sample if self.do_sample is not None else bool(self.temperature)
        temperature = (1.0 if self.temperature is None else self.temperature) if sampled else 0.0
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)
        return Sampling(
            max_new_tokens=self.max_new_tokens or limits.default_max_new_tokens,
            temperature=temperature,
            top_p=self.top_p,
            stop=stop,
            seed=self.seed,
        )


async def score(request: Request) -> JSONResponse:
    """Answer every input; `response.json()[0]` is the first input's text."""
    service: Service = request.app.state.service
    service.ready()
    body = await read_json(request, service.limits)
    inputs, params = parse(body, service.limits)
    try:
        sampling = params.sampling(service.limits)
    except ValueError as e:
        raise Refusal(422, f"params: {e}", code="invalid_value", param="params") from e
    conversations = [turns_of(given) for given in inputs]
    caller = caller_of(request, {})
    asked = [Asked(turns, sampling, caller) for turns in conversations]
    answers = await service.complete(request, asked, field="input_data", status=422)
    request.state.usage = {
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "completion_tokens": sum(answer.completion_tokens for answer in answers),
    }
    texts = [answer.text for answer in answers]
    ids = (f"{request.state.request_id}/{at}" for at in range(len(texts)))
    service.store(request, list(zip(ids, conversations, texts, strict=True)))
    if params.return_full_text:
        texts = [f"{full_prompt(given)}\n{text}" for given, text in zip(inputs, texts, strict=True)]
    return JSONResponse(texts)


def parse(body: dict[str, Any], limits: Limits) -> tuple[list[str | list[Message]], Params]:
    """The inputs and their parameters. Raises Refusal (422) with the wrong field and the closest valid one."""
    _only(body, ("input_data", "params"), "")
    if "input_data" not in body:
        raise Refusal(422, "input_data is missing; send a list of texts or of conversations", param="input_data")
    given, params = body["input_data"], body.get("params")
    if isinstance(given, dict):
        _only(given, ("input_string", "parameters"), "input_data.")
        if params is not None and "parameters" in given:
            raise Refusal(422, "params and input_data.parameters are both given; send one of them", param="params")
        params = given.get("parameters", params)
        given = given.get("input_string")
    return _inputs(given, limits), _params({} if params is None else params)


def _params(given: Any) -> Params:
    if not isinstance(given, dict):
        raise Refusal(422, "params is not an object; send {...}", code="invalid_type", param="params")
    _only(given, tuple(Params.model_fields), "params.")
    try:
        return Params.model_validate(given)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        name = f"params.{first['loc'][0]}"
        raise Refusal(
            422, f"{name}: {first['msg']}; correct it or leave it out", code="invalid_value", param=name
        ) from e


def _inputs(given: Any, limits: Limits) -> list[str | list[Message]]:
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not given:
        raise Refusal(422, 'input_data is not a list with at least one input; send ["text"]', param="input_data")
    if all(isinstance(turn, dict) for turn in given):
        given = [given]
    if len(given) > limits.max_inputs:
        raise Refusal(
            422,
            f"input_data has {len(given)} inputs and at most {limits.max_inputs} are accepted; send fewer at a time",
            code="too_many_inputs",
            param="input_data",
        )
    return [_input(value, f"input_data[{at}]") for at, value in enumerate(given)]


def _input(value: Any, where: str) -> str | list[Message]:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value:
        return [_turn(turn, f"{where}[{at}]") for at, turn in enumerate(value)]
    raise Refusal(
        422, f"{where} is neither a text nor a conversation; send text or [{{role, content}}, ...]", param=where
    )


def _turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise Refusal(422, f'{where} is not a turn; send {{"role": ..., "content": ...}}', param=where)
    _only(turn, ("role", "content"), f"{where}.")
    role, content = role_of(turn.get("role")), turn.get("content")
    if role is None:
        names = "system, user and assistant"
        raise Refusal(422, f"{where}.role is {turn.get('role')!r}; valid are {names}", param=f"{where}.role")
    try:
        if not isinstance(content, (str, list)):
            raise UnreadableContent("not_text", "it is neither a string nor text parts")
        return Message(role=role, content=text_of(content))
    except UnreadableContent as e:
        raise Refusal(422, f"{where}.content is not a text: {e}; send a string", param=f"{where}.content") from e


def _only(given: dict[str, Any], valid: Sequence[str], where: str) -> None:
    for name in given:
        if name not in valid:
            field = f"{where}{name}"
            raise Refusal(422, f"{field} is not a field; {nearest(name, valid)}", code="unknown_field", param=field)


def turns_of(given: str | list[Message]) -> list[Message]:
    """The input as a conversation: a text is one user turn."""
    return [Message(role="user", content=given)] if isinstance(given, str) else given


def full_prompt(given: str | list[Message]) -> str:
    """The text before the answer when the full text is requested: the input text, or the contents of all turns."""
    return given if isinstance(given, str) else "\n".join(turn["content"] for turn in given)
