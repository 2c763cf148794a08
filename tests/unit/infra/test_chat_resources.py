"""The chat's own deployment: its database, its Container Apps environment, its identity and who may do what."""

import json
import re

import pytest

from tests.support.evaluated_template import DEPLOYER, chat_installation, installation, needs_compiler

pytestmark = needs_compiler
ROLES = {
    "7f951dda-4ed3-4680-a7ca-43fe172d538d": "AcrPull",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "00000000-0000-0000-0000-000000000001": "Cosmos DB Built-in Data Reader",
    "00000000-0000-0000-0000-000000000002": "Cosmos DB Built-in Data Contributor",
}
NAMES = {
    "chat_database": r"[a-z0-9][a-z0-9-]{1,42}[a-z0-9]",
    "chat_container": r"cosmos-[a-z0-9]+/chat/conversations",
    "chat_feedback": r"cosmos-[a-z0-9]+/chat/feedback",
    "chat_environment": r"[a-z0-9][a-z0-9-]{0,58}[a-z0-9]",
    "chat_identity": r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,127}",
}


def test_nobody_but_the_chat_can_read_conversations():
    made = chat_installation()
    identity, account = made.asset("chat_identity"), made.asset("chat_database")["id"]
    principals = {
        f"[reference('{identity['id']}', '{identity['apiVersion']}').principalId]": "chat",
        DEPLOYER: "deployer",
    }

    found = {
        (
            principals[each["properties"]["principalId"]],
            ROLES[each["properties"]["roleDefinitionId"].rpartition("/")[2]],
            each["properties"]["scope"].removeprefix(account),
        )
        for each in made.every("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")
    }

    assert found == {
        ("chat", "Cosmos DB Built-in Data Contributor", "/dbs/chat/colls/conversations"),
        ("chat", "Cosmos DB Built-in Data Contributor", "/dbs/chat/colls/feedback"),
        ("deployer", "Cosmos DB Built-in Data Reader", "/dbs/chat/colls/feedback"),
    }
    azures = made.every("Microsoft.Authorization/roleAssignments")
    assert {ROLES[each["properties"]["roleDefinitionId"].rpartition("/")[2]] for each in azures} == {
        "AcrPull",
        "Monitoring Metrics Publisher",
    }
    assert {principals[each["properties"]["principalId"]] for each in azures} == {"chat"}


def test_every_assignment_and_resource_is_in_the_outputs_by_its_full_id():
    made = chat_installation()
    kinds = ("Microsoft.Authorization/roleAssignments", "Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments")
    assert sorted(made.outputs["roleAssignments"]) == sorted(each["id"] for kind in kinds for each in made.every(kind))
    assert set(made.outputs["resources"]) == set(NAMES)
    for asset, rule in NAMES.items():
        assert re.fullmatch(rule, made.asset(asset)["name"]), asset


def test_it_names_the_foundation_s_resources_as_the_foundation_does():
    foundation, asked = installation(), json.dumps(chat_installation().resources)
    for asset in ("container_registry", "application_insights", "log_analytics"):
        assert foundation.outputs["resources"][asset] in asked


def test_the_environment_s_logs_need_no_key_and_it_has_no_machine():
    environment = chat_installation().asset("chat_environment")["properties"]
    assert environment["appLogsConfiguration"] == {"destination": "azure-monitor"}
    assert environment["workloadProfiles"] == [{"name": "Consumption", "workloadProfileType": "Consumption"}]


@pytest.mark.guide("chat-history")
def test_the_chat_database_is_serverless_and_takes_entra_only():
    either = chat_installation()
    properties = either.asset("chat_database")["properties"]

    assert properties["capabilities"] == [{"name": "EnableServerless"}]
    assert properties["disableLocalAuth"] is True
    # Serverless has no throughput to set, and one region.
    assert len(properties["locations"]) == 1
    assert "throughput" not in json.dumps(either.resources)


@pytest.mark.guide("chat-history")
def test_the_chats_containers_are_divided_by_person_and_let_items_expire():
    either = chat_installation()
    account = either.asset("chat_database")
    database = either.one("Microsoft.DocumentDB/databaseAccounts/sqlDatabases")
    containers = {asset: either.asset(asset) for asset in ("chat_container", "chat_feedback")}

    assert database["id"] == f"{account['id']}/sqlDatabases/chat"
    assert either.every("Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers") == list(containers.values())
    for container in containers.values():
        made = container["properties"]["resource"]
        assert container["id"] == f"{database['id']}/containers/{made['id']}"
        assert made["partitionKey"] == {"kind": "Hash", "paths": ["/user_id"], "version": 2}
        assert made["defaultTtl"] == -1


def test_the_chats_texts_are_not_indexed_and_its_newest_first_query_is():
    either = chat_installation()
    policy = either.asset("chat_container")["properties"]["resource"]["indexingPolicy"]
    feedback = either.asset("chat_feedback")["properties"]["resource"]["indexingPolicy"]

    assert {each["path"] for each in policy["excludedPaths"]} == {"/content/?", "/served/*", '/"_etag"/?'}
    assert [[(each["path"], each["order"]) for each in index] for index in policy["compositeIndexes"]] == [
        [("/kind", "ascending"), ("/updated", "descending")]
    ]
    assert {each["path"] for each in feedback["excludedPaths"]} == {"/message/*", "/turns/*", '/"_etag"/?'}
