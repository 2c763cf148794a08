"""The resources of a deployment, and their differences between the two access modes."""

import json
import re
from typing import Any

import pytest

from azure_emulator.bicep import compiler
from tests.support.evaluated_template import (
    DEPLOYER,
    LOCATION,
    SUBSCRIPTION,
    TEMPLATE,
    Installation,
    installation,
    needs_compiler,
)

pytestmark = needs_compiler

# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
NAMES = {
    "resource_group": r"[-\w.()]{0,89}[-\w()]",
    "storage_account": r"[a-z0-9]{3,24}",
    "key_vault": r"[a-zA-Z](?!.*--)[a-zA-Z0-9-]{1,22}[a-zA-Z0-9]",
    "application_insights": r"[^%&\\?/]{0,259}[^%&\\?/ .]",
    "log_analytics": r"[a-zA-Z0-9][a-zA-Z0-9-]{2,61}[a-zA-Z0-9]",
    "container_registry": r"[a-zA-Z0-9]{5,50}",
    "managed_identity": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
    "ml_workspace": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}",
}
# Azure keeps no tags on these.
UNTAGGED = ("roleAssignments", "sqlRoleAssignments")
AZD = {
    "AZURE_RESOURCE_GROUP": "resource_group",
    "AZURE_STORAGE_ACCOUNT": "storage_account",
    "AZURE_KEY_VAULT": "key_vault",
    "AZURE_APPLICATION_INSIGHTS": "application_insights",
    "AZURE_LOG_ANALYTICS": "log_analytics",
    "AZURE_CONTAINER_REGISTRY": "container_registry",
    "AZURE_MANAGED_IDENTITY": "managed_identity",
    "AZURE_ML_WORKSPACE": "ml_workspace",
}


@pytest.fixture(params=["keyless", "guide"])
def either(request: pytest.FixtureRequest) -> Installation:
    return installation(accessMode=request.param)


def test_keyless_is_the_default():
    assert installation() == installation(accessMode="keyless")


def test_without_keys_the_storage_account_takes_entra_only():
    made = installation(accessMode="keyless")

    assert made.asset("storage_account")["properties"]["allowSharedKeyAccess"] is False
    assert made.asset("ml_workspace")["properties"]["systemDatastoresAuthMode"] == "Identity"


def test_in_the_guides_mode_the_storage_accounts_keys_are_on():
    made = installation(accessMode="guide")

    assert made.asset("storage_account")["properties"]["allowSharedKeyAccess"] is True
    assert made.asset("ml_workspace")["properties"]["systemDatastoresAuthMode"] == "AccessKey"


@pytest.mark.guide("workspace")
def test_the_workspace_has_its_own_identity_and_its_four_companions(either: Installation):
    workspace = either.asset("ml_workspace")

    assert workspace["identity"] == {"type": "SystemAssigned"}
    for role, asset in {
        "storageAccount": "storage_account",
        "keyVault": "key_vault",
        "applicationInsights": "application_insights",
        "containerRegistry": "container_registry",
    }.items():
        assert workspace["properties"][role] == either.asset(asset)["id"]


@pytest.mark.guide("managed-identity")
def test_there_is_one_user_assigned_identity_for_jobs(either: Installation):
    assert either.one("Microsoft.ManagedIdentity/userAssignedIdentities") == either.asset("managed_identity")


def test_application_insights_keeps_its_records_in_log_analytics(either: Installation):
    component = either.asset("application_insights")

    assert component["properties"]["WorkspaceResourceId"] == either.asset("log_analytics")["id"]


def test_no_one_reads_anything_without_signing_in(either: Installation):
    storage = either.asset("storage_account")["properties"]

    assert storage["allowBlobPublicAccess"] is False
    assert storage["supportsHttpsTrafficOnly"] is True
    assert storage["minimumTlsVersion"] == "TLS1_2"
    assert either.asset("container_registry")["properties"]["adminUserEnabled"] is False
    assert either.asset("key_vault")["properties"]["enableRbacAuthorization"] is True


def test_purge_protection_is_left_out_unless_it_is_asked_for():
    # Azure refuses `false`, and never takes `true` back.
    assert installation().asset("key_vault")["properties"]["enablePurgeProtection"] is None
    assert installation(purgeProtection=True).asset("key_vault")["properties"]["enablePurgeProtection"] is True


def test_everything_that_can_be_tagged_has_azds_tag(either: Installation):
    for resource in either.resources:
        if not resource["type"].endswith(UNTAGGED):
            assert resource["tags"] == {"azd-env-name": "phi-local"}, resource["id"]


def test_the_templates_digest_is_a_tag_of_the_group_alone():
    made = installation(templateHash="d1e2")

    assert made.asset("resource_group")["tags"] == {"azd-env-name": "phi-local", "phi-template-hash": "d1e2"}
    assert not [resource for resource in made.resources[1:] if "phi-template-hash" in resource.get("tags", {})]


def test_everything_is_in_the_region_that_was_asked_for():
    made = installation(location="swedencentral")

    assert {resource["location"] for resource in made.resources if "location" in resource} == {"swedencentral"}


def test_the_group_is_named_for_the_environment_and_made_first(either: Installation):
    assert either.resources[0] == either.asset("resource_group")
    assert either.resources[0]["name"] == "rg-phi-local"


def test_each_assets_resource_is_in_the_outputs_by_its_full_id(either: Installation):
    assert set(either.outputs["resources"]) == set(NAMES)
    for name in NAMES:
        assert either.asset(name)["id"].startswith(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-phi-local")


def test_azd_gets_the_name_of_each_resource(either: Installation):
    flat = {key: value for key, value in either.outputs.items() if key.startswith("AZURE_")}

    assert flat == {key: either.asset(asset)["name"] for key, asset in AZD.items()}


def test_no_output_waits_for_what_only_azure_knows(either: Installation):
    assert "[reference(" not in json.dumps(either.outputs)
    assert "[reference(" in json.dumps(either.resources), "the identity's principal id is such a thing"


@pytest.mark.parametrize("name", ["a", "phi-local", "A.b_c(d)", "x" * 64], ids=["short", "plain", "odd", "long"])
def test_names_keep_azures_rules_whatever_the_environment_is_called(name: str):
    made = installation(environmentName=name)

    for asset, rule in NAMES.items():
        assert re.fullmatch(rule, made.asset(asset)["name"]), made.asset(asset)["name"]


@pytest.mark.parametrize("spelt", [{"location": "East US 2"}, {"environmentName": "Phi-Local"}], ids=["region", "name"])
def test_another_spelling_is_the_same_installation(spelt: dict[str, str]):
    made, again = installation(), installation(**spelt)

    for asset in set(NAMES) - {"resource_group"}:
        assert made.asset(asset)["name"] == again.asset(asset)["name"]


def test_two_environments_share_no_name():
    here, other, elsewhere = (
        installation(),
        installation(environmentName="phi-other"),
        installation(location="swedencentral"),
    )

    for asset in set(NAMES) - {"resource_group"}:
        assert len({made.asset(asset)["name"] for made in (here, other, elsewhere)}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"environmentName": ""},
        {"environmentName": "x" * 65},
        {"principalId": "ada@example.com"},
        {"principalType": "Person"},
        {"accessMode": "keys"},
        {"purgeProtection": "yes"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_parameter_that_cannot_be_right_is_refused(wrong: dict[str, Any]):
    needed = {"environmentName": "phi-local", "location": LOCATION, "principalId": DEPLOYER}

    with pytest.raises(compiler.TemplateRefused, match="bicep snapshot"):
        compiler.snapshot(TEMPLATE, needed | wrong, SUBSCRIPTION, LOCATION)
