"""The fields that chat completions and completions share, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving_code.engine import Sampling
from serving_code.errors import Refusal
from serving_code.limits import Limits
from serving_code.service import Identity

MAX_CHOICES = 16
MAX_BIASED = 1024
Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]


T = TypeVar("T", bound="AnswerFields")


class StreamOptions(BaseModel):
    """Whether the last chunk of a stream holds the usage."""

    include_usage: bool | None = False


class AnswerFields(BaseModel):
    """The fields that change an answer. Other fields, which clients often send, are collected and logged."""

    model_config = ConfigDict(extra="allow")

    model: str | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    min_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(gt=0.0)] | None = None
    logit_bias: Annotated[dict[int, float], Field(max_length=MAX_BIASED)] | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    cache_salt: str | None = None

    def sampling(self, limits: Limits, *, max_tokens: int | None, **more: Any) -> Sampling:
        """How the first choice is generated. Raises Refusal (400)."""
        stop = self.stop or ()
        try:
            return Sampling(
                max_new_tokens=max_tokens or limits.default_max_new_tokens,
                temperature=limits.default_temperature if self.temperature is None else self.temperature,
                top_p=1.0 if self.top_p is None else self.top_p,
                # vLLM's clients send -1 for all tokens.
                top_k=max(self.top_k or 0, 0),
                min_p=self.min_p or 0.0,
                presence_penalty=self.presence_penalty or 0.0,
                frequency_penalty=self.frequency_penalty or 0.0,
                repetition_penalty=1.0 if self.repetition_penalty is None else self.repetition_penalty,
                logit_bias=tuple((self.logit_bias or {}).items()),
                stop=(stop,) if isinstance(stop, str) else tuple(stop),
                seed=self.seed,
                **more,
            )
        except ValueError as e:
            raise Refusal(400, str(e), code="invalid_value") from e


def read(fields: type[T], body: dict[str, Any], identity: Identity) -> T:
    """The request's fields. Raises Refusal: 400 with the field at fault, 404 for another model."""
    try:
        found = fields.model_validate(body)
    except ValidationError as e:
        first = e.errors(include_url=False, include_input=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, f"{name}: {first['msg']}; correct it", code="invalid_value", param=name) from e
    if found.model and not identity.answers_to(found.model):
        raise no_model(found.model, identity)
    return found


def no_model(model: str, identity: Identity) -> Refusal:
    """The refusal of a model that is not served here."""
    return Refusal(
        404,
        f"this server has no model {model!r}; it serves {identity.model_name!r}",
        code="model_not_found",
        param="model",
    )


def choices_of(sampling: Sampling, n: int | None) -> list[Sampling]:
    """The sampling of each choice; with a seed each has its own."""
    if sampling.seed is None:
        return [sampling] * (n or 1)
    return [replace(sampling, seed=sampling.seed + choice) for choice in range(n or 1)]


def unsupported(param: str, message: str) -> Refusal:
    """The refusal of something that this server cannot do."""
    return Refusal(400, message, code="unsupported", param=param)


class JsonSchema(BaseModel):
    """A named JSON schema."""

    content: Annotated[dict[str, Any], Field(alias="schema")]


class ResponseFormat(BaseModel):
    """Free text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None

    def schema_text(self) -> str | None:
        """The JSON schema as JSON; None for free text. Raises Refusal."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return '{"type": "object"}'
        if self.json_schema is None:
            raise Refusal(
                400, "response_format.json_schema is missing; send {name, schema}", code="invalid_value",
                param="response_format",
            )  # fmt: skip
        return json.dumps(self.json_schema.content)
