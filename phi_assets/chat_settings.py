"""The settings of the chat page and of the feedback that comes from it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from phi_assets.settings_values import HostNames


class ChatSettings(BaseModel):
    """Where the chat listens, how it answers, what one person may use, and how much of a dataset may be feedback."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    chat_port: int = Field(8090, ge=1, le=65535, description="port of the chat page; another one when it is in use")
    mlflow_port: int = Field(
        5000,
        ge=1,
        le=65535,
        description="port of MLflow's page, which `phi review` opens; another one when it is in use",
    )
    chat_hosts: HostNames = Field(
        frozenset(),
        description="names besides localhost by which browsers reach the chat page, through a tunnel of yours, "
        "separated by commas",
    )
    chat_system_prompt: Path | None = Field(
        None, description="file whose text begins every conversation of the chat; it must hold no secret"
    )
    chat_max_tokens: int = Field(512, ge=1, description="longest answer of the chat, in tokens")
    chat_temperature: float = Field(
        0.0, ge=0, le=2, description="0: the chat answers the same question in the same way; above, answers vary"
    )
    chat_answers: int = Field(4, ge=1, le=256, description="answers that the chat generates at once; others wait")
    chat_day_requests: int = Field(0, ge=0, description="questions a day of one person in the chat; 0: any number")
    chat_day_tokens: int = Field(0, ge=0, description="tokens a day of one person in the chat; 0: any number")
    chat_words: Path | None = Field(
        None, description="file of words that neither questions nor answers of the chat may have, one a line"
    )
    chat_content_safety: str = Field(
        "",
        pattern=r"^(https://\S+)?$",
        description="address of an Azure AI Content Safety resource that examines questions and answers of the chat; "
        "whoever serves the chat needs the role Cognitive Services User on it; empty: none",
    )
    chat_content_safety_severity: Literal["low", "medium", "high"] = Field(
        "medium", description="severity from which Azure AI Content Safety refuses a text of the chat"
    )
    traces: str = Field(
        "",
        pattern=r"^(https?://\S+)?$",
        description="address that takes OpenTelemetry traces of the chat and the endpoint (OTLP over HTTP), such as "
        "http://127.0.0.1:5000/v1/traces of MLflow's page; empty: no traces",
    )
    trace_content: bool = Field(False, description="whether traces hold questions and answers too")
    feedback_share: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="largest share of a dataset that may be approved feedback of the chat, corrections first; 0: none",
    )
    feedback_person_share: float = Field(
        0.25, gt=0, le=1, description="largest share of the feedback that one person may give, where there are several"
    )
    keep_chat_days: float = Field(
        0, ge=0, description="days without a new message after which a conversation of the chat is deleted; 0: never"
    )
