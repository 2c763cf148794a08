"""The forms of settings that are more than a number, a path or one of a few words."""

import difflib
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr


def nearest(word: str, choices: list[str]) -> str:
    """Return "; did you mean ...?" with the choice that is written most like the word, or nothing without choices."""
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?" if near else ""


def _words(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _columns(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not name.strip() or not theirs.strip() for name, _, theirs in pairs):
        raise ValueError(f"{value!r} is not of the form messages=dialog,role=speaker")
    return {name.strip(): theirs.strip() for name, _, theirs in pairs}


def _repairs(value: tuple[str, ...]) -> tuple[str, ...]:
    from phi_assets.conversations.repairs import REPAIRS

    if value in (("all",), ("none",)):
        return value
    if wrong := [name for name in value if name.removeprefix("-") not in REPAIRS]:
        raise ValueError(f"{wrong[0]!r} is no repair{nearest(wrong[0], list(REPAIRS))} (repairs: {', '.join(REPAIRS)})")
    if len({name.startswith("-") for name in value}) > 1:
        raise ValueError("give either the repairs to make, or those to leave out, each with -")
    return value


def _keep_fields(value: tuple[str, ...]) -> tuple[str, ...]:
    from phi_assets.conversations.formats.turns import KEEPABLE

    if wrong := [name for name in value if name not in KEEPABLE]:
        raise ValueError(f"{wrong[0]!r} is no such field{nearest(wrong[0], list(KEEPABLE))} ({', '.join(KEEPABLE)})")
    return value


def _regions(value: tuple[str, ...]) -> tuple[str, ...]:
    from phi_assets.conversations.personal_kinds import REGIONS

    names = ["UK" if name.upper() == "GB" else name.upper() for name in value]
    if unknown := sorted(set(names) - set(REGIONS)):
        raise ValueError(f"{', '.join(unknown)} is not of {', '.join(REGIONS)}")
    return tuple(name for name in REGIONS if name in names)


def _host_names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [name.strip().lower() for name in value.split(",") if name.strip()]
    if any(re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:]+", name) is None for name in names):
        raise ValueError(f"{value!r} is not of the form phi.example.com,phi.local: names alone, no port")
    return frozenset(names)


def _base_model(value: str) -> str:
    from phi_assets.base_models.reference import UnknownBaseModel, parse_base_model

    try:
        parse_base_model(value)
    except UnknownBaseModel as e:
        raise ValueError(str(e)) from e
    return value


def _dataset(value: str) -> str:
    from phi_assets.conversations.rows import SourceError
    from phi_assets.conversations.sources.address import parse_source

    try:
        parse_source(value)
    except SourceError as e:
        raise ValueError(str(e)) from e
    return value


def _subscription_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        raise ValueError("not a subscription's id; see `az account list -o table`")
    return value.lower()


def _app_id(value: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value):
        raise ValueError("not a client id; see `az ad app list --query '[].[displayName, appId]' -o table`")
    return value.lower()


def _region(value: str) -> str:
    short = value.replace(" ", "").lower()
    if short and not short.isalnum():
        raise ValueError("not a region's name; see `az account list-locations -o table`")
    return short


def _azure_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,38}[a-z0-9]", value):
        raise ValueError("2 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -")
    return value


def _url_of_dagster(value: str) -> str:
    if not re.fullmatch(r"https?://[^/\s?#@]+(/[^\s?#@]*)?", value):
        raise ValueError(
            "not an address that begins with https:// or http://, without a password, a query and a fragment"
        )
    return value.rstrip("/")


def _project(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", value):
        raise ValueError("1 to 31 of a-z, 0-9 and _, beginning with a letter")
    return value


def _web_address(value: SecretStr) -> SecretStr:
    if not re.match(r"https?://[^/\s]+", value.get_secret_value()):
        raise ValueError("not an address that begins with https://")
    return value


# Of one text with commas, or already a tuple.
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Repairs = Annotated[Words, AfterValidator(_repairs)]
KeepFields = Annotated[Words, AfterValidator(_keep_fields)]
Regions = Annotated[Words, AfterValidator(_regions)]
HostNames = Annotated[frozenset[str], BeforeValidator(_host_names)]
Columns = Annotated[dict[str, str], BeforeValidator(_columns)]

BaseModelAddress = Annotated[str, AfterValidator(_base_model)]
DatasetAddress = Annotated[str, AfterValidator(_dataset)]
WebAddress = Annotated[SecretStr, AfterValidator(_web_address)]

SubscriptionId = Annotated[str, AfterValidator(_subscription_id)]
AppId = Annotated[str, AfterValidator(_app_id)]
Region = Annotated[str, AfterValidator(_region)]
UrlOfDagster = Annotated[str, AfterValidator(_url_of_dagster)]
ProjectName = Annotated[str, AfterValidator(_project)]
AzureName = Annotated[str, AfterValidator(_azure_name)]
