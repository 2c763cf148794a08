"""The deployment of infra/main.json and its live checks, against the local Azure."""

import pytest

from azure_emulator.control import Control
from phi_assets import bicep_template
from phi_assets.backends.azure.client import credential
from phi_assets.backends.azure.client.azure_errors import AzureRefused, NotSignedIn
from phi_assets.backends.azure.infrastructure import deployment, live_state
from phi_assets.ports.infrastructure import DEPLOYED
from tests.support.azure_place import Place, names

pytestmark = [pytest.mark.azure, pytest.mark.integration]
NAMES = names()


@pytest.fixture
def place(control, tmp_path) -> Place:
    """A place nobody has been to, on an Azure without faults, signed in as an owner."""
    control.clear_faults()
    control.scale(0)
    control.sign_in("signed_in")
    credential.forget()
    live_state.forget()
    return Place(control, tmp_path, next(NAMES))


@pytest.fixture(scope="module")
def mended(control, tmp_path_factory) -> Place:
    """A deployed place that each test damages and mends."""
    found = Place(control, tmp_path_factory.mktemp("mended"), "mended")
    found.deploy()
    return found


@pytest.fixture
def owner_gone(control):
    """Takes the person's roles away, and gives them back."""
    taken = []

    def take(*instead: str) -> None:
        for role in control.roles(USER):
            control.take_role(role["id"])
            taken.append(role)
        for role in instead:
            control.give_role(role=role)

    yield take
    for role in control.roles(USER):
        control.take_role(role["id"])
    control.give_role()


USER = "22222222-2222-2222-2222-222222222222"


def deployments(control: Control, place: Place) -> list[dict]:
    found = control.requests(service="arm", verb="PUT", match=f"deployments/phi-{place.name}")
    return [request for request in found if "Microsoft.Resources/deployments" in request["path"]]


@pytest.mark.guide("workspace")
def test_everything_stands_after_one_deployment_and_every_live_check_passes(place):
    made = place.deploy()

    assert tuple(made) == DEPLOYED
    failed = {asset: place.failed_checks(asset) for asset in (*DEPLOYED, "ml_workspace")}
    assert {asset: checks for asset, checks in failed.items() if checks} == {}
    assert all(
        record.portal.startswith("https://portal.azure.com/#resource/subscriptions/") for record in made.values()
    )
    assert made["container_registry"].dollars_a_month > 0
    assert {record.region for record in made.values()} == {"eastus2"}
    assert "Create" in place.resources["cloud_resources"].planned()


def test_the_guides_mode_passes_its_own_checks(place):
    place.others["PHI_AZURE_ACCESS_MODE"] = "guide"

    place.deploy()

    failed = {asset: place.failed_checks(asset) for asset in (*DEPLOYED, "ml_workspace")}
    assert {asset: checks for asset, checks in failed.items() if checks} == {}


@pytest.mark.guide("workspace")
def test_a_second_deployment_writes_nothing(place):
    made = place.deploy()
    place.control.forget_requests()

    assert place.deploy() == made
    assert place.writes() == []


def test_another_home_takes_over_what_is_deployed_without_a_write(place, tmp_path):
    made = place.deploy()
    place.control.forget_requests()

    assert Place(place.control, tmp_path / "another", place.name).deploy() == made
    assert place.writes() == []


def test_another_parameter_deploys_again(place, tmp_path):
    place.deploy()
    place.control.forget_requests()

    changed = Place(place.control, tmp_path, place.name, {"PHI_AZURE_PURGE_PROTECTION": "true"})
    changed.deploy()

    assert len(deployments(place.control, place)) == 1
    assert place.control.resource(place.id("key_vault"))["properties"]["enablePurgeProtection"] is True


DRIFTS = [
    ("storage_account", "shared_keys", {"allowSharedKeyAccess": True}),
    ("storage_account", "no_public_access", {"allowBlobPublicAccess": True}),
    ("container_registry", "no_admin_password", {"adminUserEnabled": True}),
    ("key_vault", "roles_decide", {"enableRbacAuthorization": False}),
    ("ml_workspace", "datastores", {"systemDatastoresAuthMode": "AccessKey"}),
]


@pytest.mark.parametrize(("asset", "check", "properties"), DRIFTS)
def test_drift_is_a_failed_check_and_making_it_again_mends_it(place, mended, asset, check, properties):
    made = mended.deploy()
    mended.control.change(mended.id(asset), **properties)

    assert mended.failed_checks(asset) == [check]
    if asset in made:
        keeper = mended.resources["cloud_resources"]
        assert keeper.find(made[asset].digest) is None
        assert "differs from the template" in keeper.missing_reason(made[asset].digest)
    else:
        mended.resources["provisioner"].ensure_workspace()
    mended.deploy()
    assert mended.failed_checks(asset) == []


@pytest.mark.parametrize("asset", ["managed_identity", "container_registry"])
def test_a_deleted_resource_is_found_missing_and_made_again(place, mended, asset):
    made = mended.deploy()
    mended.control.delete(mended.id(asset))

    assert "provisioned" in mended.failed_checks(asset)
    assert mended.resources["cloud_resources"].find(made[asset].digest) is None
    mended.deploy()
    assert mended.failed_checks(asset) == []


@pytest.mark.parametrize(
    ("asset", "check", "part"),
    [
        ("application_insights", "logs", "log_analytics"),
    ],
)
def test_a_deleted_part_of_an_asset_is_found_missing_and_made_again(place, mended, asset, check, part):
    made = mended.deploy()
    mended.control.delete(mended.id(part))

    assert mended.failed_checks(asset) == [check]
    assert mended.resources["cloud_resources"].find(made[asset].digest) is None
    mended.deploy()
    assert mended.failed_checks(asset) == []


@pytest.mark.guide("role-contributor", "role-storage", "role-acrpull")
@pytest.mark.parametrize("number", range(len(bicep_template.grants("keyless"))))
def test_each_role_that_is_taken_away_fails_its_own_check_and_is_given_again(place, mended, number):
    made = mended.deploy()
    role_id = list(live_state.read(mended.clients, _outputs(mended)).roles)[number]
    mended.control.delete(role_id) or mended.control.take_role(role_id)

    assert mended.failed_checks("role_assignments") == [bicep_template.grants("keyless")[number].check]
    assert mended.resources["cloud_resources"].find(made["role_assignments"].digest) is None
    mended.deploy()
    assert mended.failed_checks("role_assignments") == []


def test_what_another_process_mended_is_seen_by_the_next_survey(place, mended, tmp_path):
    made = mended.deploy()
    keeper = mended.resources["cloud_resources"]
    mended.control.change(mended.id("container_registry"), adminUserEnabled=True)
    keeper.invalidate()
    assert keeper.find(made["container_registry"].digest) is None

    mended.control.change(mended.id("container_registry"), adminUserEnabled=False)  # as a run in its own process does

    keeper.invalidate()
    assert keeper.find(made["container_registry"].digest) == made["container_registry"]


def test_a_lost_answer_to_the_deployment_makes_one_deployment(place):
    place.control.forget_requests()
    place.control.fail_next(f"PUT deployments/phi-{place.name}", "dropped")

    place.deploy()

    assert len(deployments(place.control, place)) == 1
    assert any("waiting for it" in words for words in place.said)


def test_a_forecast_that_never_comes_holds_nothing_up(place, monkeypatch):
    monkeypatch.setattr(deployment, "FORECAST_SECONDS", 1.0)
    place.control.what_if_hangs()

    made = place.deploy()

    assert place.control.resource(made["resource_group"].address)
    assert place.resources["cloud_resources"].planned() == "Azure gave no forecast"
    assert "no forecast of the deployment: Azure did not answer within 1 s" in place.said


def test_a_deployment_that_is_under_way_is_followed_and_not_repeated(place, tmp_path):
    place.control.scale(1)
    other = Place(place.control, tmp_path / "other", place.name)
    _begin(other)
    place.control.forget_requests()

    place.deploy()

    assert deployments(place.control, place) == []
    assert any("already in progress" in words for words in place.said)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 3))])
def test_a_third_of_all_calls_failing_still_ends_in_one_of_everything(place, seed):
    place.control.hold_seconds(0.1)
    place.control.forget_requests()
    place.control.fail_randomly(0.3, seed)

    place.deploy()
    place.resources["provisioner"].ensure_compute()
    place.resources["provisioner"].ensure_environment()
    place.control.clear_faults()

    assert all(place.failed_checks(asset) == [] for asset in (*DEPLOYED, "ml_workspace"))
    done = [
        request for request in deployments(place.control, place) if request["fault"] not in ("429", "503", "timeout")
    ]
    assert len(done) == 1
    assert len(place.control.resources("Microsoft.MachineLearningServices/workspaces", place.group)) == 1


def test_an_unregistered_provider_is_registered(place):
    place.control.set_provider("Microsoft.OperationalInsights", "NotRegistered")

    place.deploy()

    assert place.control.provider("Microsoft.OperationalInsights") == "Registered"
    assert "registering the subscription for Microsoft.OperationalInsights" in place.said


def test_a_provider_that_the_person_may_not_register_is_named_with_the_command(place, owner_gone):
    place.control.set_provider("Microsoft.OperationalInsights", "NotRegistered")
    owner_gone("Reader")

    with pytest.raises(AzureRefused, match=r"az provider register --namespace Microsoft.OperationalInsights --wait"):
        place.deploy()

    assert place.existing() == []


def test_a_person_who_may_not_give_roles_is_told_which_right_is_missing(place, owner_gone):
    owner_gone("Contributor")

    with pytest.raises(AzureRefused, match="roleAssignments/write") as caught:
        place.deploy()

    assert "az role assignment create" in str(caught.value)
    assert place.existing() == []


def test_a_person_without_any_role_is_told_so(place, owner_gone):
    owner_gone()

    with pytest.raises(AzureRefused, match=r"az role assignment create .*; then run again"):
        place.deploy()

    assert place.existing() == []


@pytest.mark.guide("az-login")
@pytest.mark.parametrize("state", ["signed_out", "expired"])
def test_who_is_not_signed_in_is_told_to_sign_in(place, state):
    place.control.sign_in(state)

    with pytest.raises(NotSignedIn, match="run `az login`"):
        place.deploy()

    assert place.existing() == []


@pytest.mark.parametrize("region", ["japanwest", "nowhere"])
def test_a_region_without_the_services_names_the_setting(place, region):
    place.others["PHI_AZURE_LOCATION"] = region

    with pytest.raises(AzureRefused, match="PHI_AZURE_LOCATION"):
        place.deploy()

    assert place.existing() == []


def test_another_region_after_the_group_was_deleted_by_hand_is_deployed(place):
    place.deploy()
    place.control.delete(place.group)

    place = Place(place.control, place.home, place.name, {"PHI_AZURE_LOCATION": "swedencentral"})

    assert {record.region for record in place.deploy().values()} == {"swedencentral"}


def test_a_deleted_vault_of_the_same_name_names_the_commands(place, tmp_path):
    place.deploy()
    vault = place.id("key_vault").rpartition("/")[2]
    place.control.delete(place.group)
    place.control.soft_delete_vault(vault)

    with pytest.raises(AzureRefused, match=f"az keyvault recover --name {vault}"):
        Place(place.control, tmp_path / "again", place.name).deploy()


def test_an_expired_token_is_renewed(place):
    place.control.fail_next("GET arm", "expired", times=2)

    place.deploy()


@pytest.mark.guide("config-py")
def test_no_secret_is_kept_with_the_outputs(place):
    place.deploy()

    kept = "".join(path.read_text() for path in place.settings.state.rglob("*.json"))
    assert "key" not in kept.replace("key_vault", "").lower().replace("/providers/microsoft.keyvault", "")


def _outputs(place: Place):
    from phi_assets.backends.azure.client import outputs

    found = outputs.read(place.clients.account)
    assert found is not None
    return found


def _begin(place: Place) -> None:
    """A deployment of ours submitted, and not waited for."""
    from phi_assets.backends.azure.infrastructure import deployment, providers

    providers.ensure_registered(place.clients, bicep_template.namespaces(), place.log)
    name, body, _ = deployment.request_of(place.clients, False)
    place.clients.deployments().deployments.begin_create_or_update_at_subscription_scope(name, body, polling=False)
