"""Preflight against the local Azure: each planted problem is found, with its remedy, and nothing is written."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pytest

from azure_emulator.identity.identities import USER
from azure_emulator.testing.clients import NAMESPACES
from phi_assets import settings
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client import names as unique_names
from phi_assets.backends.azure.client.account import AzureAccount
from phi_assets.backends.azure.client.azure_errors import WORKSPACE_REMEDY
from phi_assets.backends.azure.infrastructure import live_state
from phi_assets.cli import main
from phi_assets.cli.azure import summary
from phi_assets.defs.operations.azure_operations import preflight
from phi_assets.ports.operations import Bill, Diagnosis
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure]
NAMES = names()
OTHER = "33333333-3333-3333-3333-333333333333"
WITH_CHAT = {"PHI_AZURE_CHAT_CLIENT_ID": OTHER}
EVERY_PROVIDER = (*NAMESPACES, "Microsoft.PolicyInsights", "Microsoft.Cdn")


@pytest.fixture
def place(control, tmp_path) -> Place:
    """A place that is ready: every provider registered, an owner signed in, every name free."""
    control.clear_faults()
    control.sign_in("signed_in")
    control.subscription_state("Enabled")
    control.subscription_tenant()
    for namespace in EVERY_PROVIDER:
        control.set_provider(namespace, "Registered")
    control.size_unavailable("Standard_E4s_v3", unavailable=False)
    control.set_quota("standardNCADSA100v4Family", 100)
    for role in control.roles(USER):
        control.take_role(role["id"])
    control.give_role()
    credential.forget()
    live_state.forget()
    return Place(control, tmp_path, next(NAMES))


def look(place: Place) -> list[Diagnosis]:
    return place.resources["preflight"].diagnose(place.log)


def problems(place: Place) -> list[Diagnosis]:
    return [each for each in look(place) if each.verdict == "problem"]


def name(place: Place, asset: str) -> str:
    return unique_names.names(place.clients.account)[asset]


def test_a_ready_place_has_no_problem_and_every_subject_was_looked_at(place):
    found = look(place)

    assert [each for each in found if each.verdict == "problem"] == []
    assert {each.subject for each in found} == {
        "credential",
        "subscription",
        "roles",
        "providers",
        "region",
        "sizes",
        "quota",
        "names",
        "chat",
        "retirements",
        "budget",
    }
    # What the default settings use and is on its way out is told, and stops nobody.
    assert {each.subject for each in found if each.verdict == "warning"} == {"retirements"}


def test_nothing_is_written_whatever_is_found(place):
    place.control.set_provider("Microsoft.Cdn", "NotRegistered")
    place.control.forget_requests()

    look(place)

    assert place.writes() == []
    assert place.existing() == []
    assert place.control.provider("Microsoft.Cdn") == "NotRegistered"


@dataclass
class Planted:
    """A problem put into the place: a wish to the local Azure or settings, and what preflight must say of it."""

    subject: str
    says: tuple[str, ...]
    wish: tuple = ()
    others: dict[str, str] = field(default_factory=dict)
    verdict: str = "problem"


PLANTED = {
    "signed out": Planted("credential", ("not signed in", "az login"), ("sign_in", "signed_out")),
    "sign-in expired": Planted("credential", ("has expired", "az login"), ("sign_in", "expired")),
    "unknown subscription": Planted(
        "subscription",
        ("could not be found", "PHI_AZURE_SUBSCRIPTION_ID", "az account list"),
        others={"PHI_AZURE_SUBSCRIPTION_ID": "00000000-0000-0000-0000-0000000000bb"},
    ),
    "disabled subscription": Planted("subscription", ("Disabled", "re-enable"), ("subscription_state", "Disabled")),
    "subscription of another tenant": Planted("subscription", ("az login --tenant",), ("subscription_tenant", OTHER)),
    "no right to assign roles": Planted(
        "roles",
        ("roleAssignments/write", "az role assignment create", "Role Based Access Control Administrator"),
        ("only_role", "Contributor"),
    ),
    "no right to create": Planted(
        "roles", ("resourceGroups/write", "az role assignment create", "'Contributor'"), ("only_role", "Reader")
    ),
    "provider unregistered": Planted(
        "providers",
        ("Microsoft.PolicyInsights", "az provider register --namespace Microsoft.PolicyInsights"),
        ("set_provider", "Microsoft.PolicyInsights", "NotRegistered"),
        verdict="warning",
    ),
    "quota's provider unregistered": Planted(
        "providers",
        ("Microsoft.Quota", "az provider register --namespace Microsoft.Quota"),
        ("set_provider", "Microsoft.Quota", "NotRegistered"),
        verdict="warning",
    ),
    "unknown region": Planted(
        "region", ("no region eastus22", "eastus2", "PHI_AZURE_LOCATION"), others={"PHI_AZURE_LOCATION": "eastus22"}
    ),
    "region without Azure ML": Planted(
        "region", ("not offered in japanwest", "PHI_AZURE_LOCATION"), others={"PHI_AZURE_LOCATION": "japanwest"}
    ),
    "size not in the region": Planted(
        "sizes",
        ("Standard_E4s_v3 is not offered", "set PHI_AZURE_ENDPOINT_VM_SIZE", "Standard_D4s_v3"),
        ("size_unavailable", "Standard_E4s_v3"),
    ),
    "no quota for training": Planted(
        "quota",
        ("NCADSA100v4", "24 vCPUs needed, limit 0", "PHI_AZURE_REQUEST_QUOTA"),
        ("set_quota", "standardNCADSA100v4Family", 0),
    ),
    "a job dearer than its ceiling": Planted(
        "quota", ("PHI_AZURE_MAX_JOB_COST is 1", "raise PHI_AZURE_MAX_JOB_COST"), others={"PHI_AZURE_MAX_JOB_COST": "1"}
    ),
    "vault's name soft-deleted": Planted(
        "names", ("deleted vault", "az keyvault purge --name kv-"), ("soft_delete_vault", "key_vault")
    ),
    "storage account's name taken": Planted("names", ("is taken", "PHI_AZURE_NAME"), ("take_name", "storage_account")),
    "registry's name taken": Planted("names", ("is taken", "PHI_AZURE_NAME"), ("take_name", "container_registry")),
    "database's name taken": Planted(
        "names",
        ("is taken", "PHI_AZURE_NAME"),
        ("take_name", "chat_database"),
        others=WITH_CHAT,
    ),
    "provider of the chat unregistered": Planted(
        "providers",
        ("Microsoft.App", "az provider register --namespace Microsoft.App"),
        ("set_provider", "Microsoft.App", "NotRegistered"),
        others=WITH_CHAT,
        verdict="warning",
    ),
    "retired size": Planted(
        "retirements",
        ("PHI_AZURE_VM_SIZE names Standard_NC6s_v3", "2025-09-30", "use instead: Standard_NC24ads_A100_v4"),
        others={"PHI_AZURE_VM_SIZE": "Standard_NC6s_v3"},
    ),
    "model gone from the catalogue": Planted(
        "retirements",
        ("Phi-3-mini-4k-instruct", "2025-08-30", "Phi-4-mini-instruct"),
        others={"PHI_BASE_MODEL": "hf:microsoft/Phi-3-mini-4k-instruct"},
        verdict="warning",
    ),
    "budget below a month": Planted(
        "budget", ("budget is 50", "phi teardown"), others={"PHI_AZURE_MONTHLY_BUDGET": "50"}, verdict="warning"
    ),
}


@pytest.mark.guide("gpu-quota")
@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_problem_is_found_with_its_remedy(place, planted):
    place.others.update(planted.others)
    plant(place, planted.wish)
    credential.forget()

    found = look(place)

    told = [
        f"{each.description}. {each.remedy}"
        for each in found
        if (each.subject, each.verdict) == (planted.subject, planted.verdict)
    ]
    assert [words for words in told if all(part in words for part in planted.says)], (told, found)
    # What to do stands apart from what was found, for every finding that asks for something.
    assert [
        each for each in found if each.verdict != "ok" and (not each.remedy or each.remedy in each.description)
    ] == []
    # What needs no Azure is looked at all the same.
    assert {"retirements", "budget"} <= {each.subject for each in found}


def plant(place: Place, wish: tuple) -> None:
    if not wish:
        return
    verb, *words = wish
    if verb == "only_role":
        for role in place.control.roles(USER):
            place.control.take_role(role["id"])
        place.control.give_role(role=words[0])
        return
    words = [name(place, word) if word in unique_names.PREFIXES else word for word in words]
    getattr(place.control, verb)(*words)


def test_several_problems_are_found_at_once(place):
    place.others["PHI_AZURE_VM_SIZE"] = "Standard_NC6s_v3"  # retired, without a price, not offered
    plant(place, ("only_role", "Contributor"))
    plant(place, ("take_name", "storage_account"))

    assert {each.subject for each in problems(place)} == {"roles", "sizes", "quota", "names", "retirements"}


def test_who_may_not_register_is_told_whom_to_ask(place):
    plant(place, ("only_role", "Reader"))
    place.control.set_provider("Microsoft.Cdn", "NotRegistered")

    told = [each for each in problems(place) if each.subject == "providers"]

    assert [each.remedy for each in told] == ["ask an owner for: az provider register --namespace Microsoft.Cdn --wait"]


def test_what_cannot_be_asked_before_a_registration_says_so_and_counts(place):
    for namespace in ("Microsoft.MachineLearningServices", "Microsoft.Storage"):
        place.control.set_provider(namespace, "NotRegistered")

    found = look(place)

    assert [each for each in found if each.verdict == "problem"] == []
    unseen = [each for each in found if each.verdict == "unseen"]
    assert [each.subject for each in unseen] == ["sizes", "quota", "names"]
    assert all("register it, and check again: az provider register --namespace " in each.remedy for each in unseen)
    assert summary(found) == "3 could not be checked yet: register the providers above, and check again"
    failed = launch(place).failure_data_for_node("run_preflight")
    assert failed
    assert failed.user_failure_data
    assert "az provider register --namespace Microsoft.Storage" in str(failed.user_failure_data.description)


def test_a_provider_that_cannot_be_read_hides_no_other(place, monkeypatch):
    from azure.core.exceptions import HttpResponseError

    place.control.set_provider("Microsoft.Cdn", "NotRegistered")
    providers = place.clients.resources().providers
    read = providers.get

    def broken(namespace: str, *more: Any) -> Any:
        if namespace == "Microsoft.Storage":
            raise HttpResponseError("something of Azure's own")
        return read(namespace, *more)

    monkeypatch.setattr(providers, "get", broken)

    told = {each.description: each for each in look(place) if each.verdict not in ("ok", "problem")}

    unread = [each for words, each in told.items() if "reading Microsoft.Storage: something of Azure's own" in words]
    assert [(each.subject, each.verdict) for each in unread] == [("providers", "unseen")]
    assert any("not registered for Microsoft.Cdn" in words for words in told)
    assert any(each.subject == "names" and "Microsoft.Storage is not known" in words for words, each in told.items())


@pytest.mark.parametrize("tags", [{}, {"azd-env-name": "somebody-else"}])
def test_a_group_of_our_name_that_another_made_is_a_problem(place, tags):
    place.control.plant(place.group, {"location": "eastus2", "tags": tags})

    told = problems(place)

    assert [each.subject for each in told] == ["names"]
    assert f"the resource group rg-{place.name}" in told[0].description
    assert "PHI_AZURE_NAME" in told[0].remedy
    assert f"--tags azd-env-name={place.name}" in told[0].remedy


def test_a_group_without_its_workspace_is_a_warning_that_azure_may_keep_it(place):
    place.control.plant(place.group, {"location": "eastus2", "tags": {"azd-env-name": place.name}})

    told = [each for each in look(place) if each.subject == "names" and each.verdict == "warning"]

    assert [each.remedy for each in told] == [WORKSPACE_REMEDY]
    assert f"the workspace {name(place, 'ml_workspace')} does not exist" in told[0].description


def test_a_choice_of_credential_that_does_not_exist_is_said(place, monkeypatch):
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "nonsense")
    monkeypatch.setattr(place.clients, "_credential", credential.Credential())

    told = [each for each in problems(place) if each.subject == "credential"]

    assert len(told) == 1
    assert "nonsense" in told[0].description
    assert told[0].remedy == "unset or correct that variable, and run again"


def launch(place: Place) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        return preflight.execute_in_process(
            instance=instance, resources={"preflight": place.resources["preflight"]}, raise_on_error=False
        )


@pytest.mark.long
def test_a_third_of_the_calls_failing_changes_no_verdict(place):
    place.control.hold_seconds(0.1)
    place.control.fail_randomly(0.3, 7)

    assert problems(place) == []


@pytest.mark.documented("phi preflight")
def test_the_command_and_the_job_say_the_same(place, monkeypatch, capsys):
    plant(place, ("only_role", "Contributor"))
    for key, value in {**settings.variables(), **_variables(place)}.items():
        monkeypatch.setenv(key, value)
    settings.current.cache_clear()
    try:
        code = main.main(["preflight", "--json"])
    finally:
        settings.current.cache_clear()
    told = json.loads(capsys.readouterr().out)
    result = launch(place)

    assert code == 1
    assert [each["subject"] for each in told if each["verdict"] == "problem"] == ["roles"]
    failed = result.failure_data_for_node("run_preflight")
    assert failed
    assert failed.user_failure_data
    assert "roleAssignments/write" in str(failed.user_failure_data.metadata["diagnoses"].value)
    assert "What to do: ask an owner for: az role assignment create" in str(failed.user_failure_data.description)


def _variables(place: Place) -> dict[str, str]:
    from tests.support.graph_facts import AZURE

    return {**AZURE, "PHI_AZURE_NAME": place.name, "PHI_HOME": str(place.home), **place.others}


def test_on_a_laptop_there_is_nothing_to_look_at(monkeypatch, capsys):
    for command in ("preflight", "cost", "teardown"):
        settings.current.cache_clear()
        assert main.main([command]) == 0
        assert capsys.readouterr().out.startswith("nothing to ")
    assert main.main(["cost", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {*(each.name for each in dataclasses.fields(Bill)), "dollars_a_day", "left"}


@pytest.mark.integration
def test_what_is_there_already_is_ours_and_no_problem(place):
    names = unique_names.names(AzureAccount.of(place.settings))
    # The logs' workspace is no asset of its own, and the chat has a deployment of its own.
    apart = {"log_analytics", *(asset for asset in unique_names.PREFIXES if asset.startswith("chat_"))}

    place.deploy()

    given = {asset: place.id(asset).rpartition("/")[2] for asset in unique_names.PREFIXES.keys() - apart}
    assert {asset: names[asset] for asset in given} == given
    logs = f"{place.group}/providers/Microsoft.OperationalInsights/workspaces/{names['log_analytics']}"
    assert place.control.resource(logs)
    found = look(place)
    assert [each for each in found if each.verdict == "problem"] == []
    assert any(f"key_vault {names['key_vault']} exists" in each.description for each in found)
