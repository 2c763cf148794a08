"""Microsoft's schemas, made strict: real bodies of clients pass, one misspelt key anywhere does not."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from azure_emulator.identity.identities import LOCATION
from azure_emulator.messages import AzureError
from azure_emulator.resource_manager.schemas import Schemas, validator_of, versions_of
from azure_emulator.services import KINDS
from azure_emulator.testing.requirements import needs_schemas
from azure_emulator.testing.sent_bodies import ML, sent

pytestmark = needs_schemas
WITHOUT_SCHEMA = {"microsoft.insights/diagnosticsettings"}
VALIDATED = sorted({*KINDS, "microsoft.resources/deployments", "microsoft.quota/quotas"} - WITHOUT_SCHEMA)
# Objects whose keys are the sender's own.
FREE = {"tags", "metadata", "environmentVariables"}


def refused(type: str, api_version: str, body: dict[str, Any], code: str = "InvalidRequestContent") -> str:
    with pytest.raises(AzureError) as caught:
        Schemas().check(type, api_version, body)
    assert (caught.value.status, caught.value.code) == (400, code)
    return caught.value.message


def objects(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of objects whose keys Azure defines."""
    if isinstance(value, dict):
        yield at
        for key, inner in value.items():
            free = (
                key in FREE or key == "template" or (at == ("properties",) and key == "properties" and _is_map(inner))
            )
            if not free:
                yield from objects(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from objects(inner, (*at, index))


def _is_map(value: dict[str, Any]) -> bool:
    """Return whether these are an asset's own properties, not those of a cluster."""
    return "vmSize" not in value


@pytest.mark.parametrize("type", VALIDATED)
def test_what_is_sent_passes_and_a_misspelt_key_does_not(type: str) -> None:
    api_version, body = sent()[type]
    Schemas().check(type, api_version, body)
    for at in {("properties",), *objects(body)}:
        wrong = copy.deepcopy(body)
        wrong.setdefault("properties", {})
        place = wrong
        for step in at:
            place = place[step]
        place["misspelt"] = "x"
        assert "misspelt" in refused(type, api_version, wrong), at


def test_a_misspelt_key_deep_in_a_variant_is_named() -> None:
    api_version, body = copy.deepcopy(sent()[f"{ML}/computes".lower()])
    scale = body["properties"]["properties"]["scaleSettings"]
    scale["maxNodes"] = scale.pop("maxNodeCount")
    assert "properties.properties.scaleSettings" in refused(f"{ML}/computes", api_version, body)


@pytest.mark.parametrize(("key", "value"), [("searchSpace", {}), ("jobType", "Comand")])
def test_a_key_of_another_variant_and_an_unknown_variant_are_refused(key: str, value: Any) -> None:
    api_version, body = copy.deepcopy(sent()[f"{ML}/jobs".lower()])
    body["properties"][key] = value
    assert (value or key) in refused(f"{ML}/jobs", api_version, body)


@pytest.mark.parametrize("key", ["tags", "location"])
def test_what_stands_around_a_resource_elsewhere_is_refused_where_its_type_has_none(key: str) -> None:
    api_version, body = copy.deepcopy(sent()[f"{ML}/jobs".lower()])
    body[key] = {} if key == "tags" else LOCATION
    assert key in refused(f"{ML}/jobs", api_version, body)


@pytest.mark.parametrize("type", VALIDATED)
def test_an_api_version_without_a_schema_is_refused_with_those_that_have_one(type: str) -> None:
    body = {**sent()[type][1], "location": LOCATION}
    said = refused(type, "2019-12-01", body, "NoRegisteredProviderFound")
    assert said == (
        f"No registered resource provider found for location '{LOCATION}' and API version '2019-12-01' for type "
        f"'{type.partition('/')[2]}'. The supported api-versions are '{', '.join(versions_of(type))}'."
    )
    assert validator_of(type, versions_of(type)[-1])
