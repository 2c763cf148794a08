"""Azure ML as azure-ai-ml 1.35 uses it: clusters, assets, jobs that really run, and models."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input, MLClient, Output, command
from azure.ai.ml.entities import (
    AmlCompute,
    BuildContext,
    Data,
    Environment,
    IdentityConfiguration,
    ManagedIdentityConfiguration,
    Model,
)
from azure.ai.ml.exceptions import JobException
from azure.core.exceptions import HttpResponseError

from azure_emulator.bicep import compiler
from azure_emulator.control import ControlError
from azure_emulator.identity.identities import USER
from azure_emulator.process import LocalAzure
from azure_emulator.testing import clients

pytestmark = [
    pytest.mark.azure,
    pytest.mark.integration,
    pytest.mark.skipif(compiler.compiler() is None, reason="guide mode needs the Bicep compiler"),
]
A100 = "standardNCADSA100v4Family"
ENDED = ("Completed", "Failed", "Canceled")
SECONDS = 20


@dataclass
class Lab:
    """A deployed workspace with a cluster and an environment, and a folder to submit from."""

    azure: LocalAzure
    ml: MLClient
    outputs: dict[str, Any]
    folder: Path

    @property
    def identity(self) -> dict[str, Any]:
        return self.azure.control.resource(self.outputs["resources"]["managed_identity"])["properties"]  # type: ignore[index]

    def job(self, name: str, line: str, **more: Any) -> Any:
        identity = ManagedIdentityConfiguration(client_id=self.identity["clientId"])
        output = Output(type="uri_folder", mode="rw_mount", path="azureml://datastores/workspaceblobstore/paths/out/")
        asked = {"environment": "phi-training:1", "compute": "training", "identity": identity, **more}
        asked.setdefault("code", str(self.folder / "code"))
        return command(name=name, command=line, outputs={"model": output}, **asked)

    def submit(self, name: str, line: str = "echo hello", **more: Any) -> Any:
        return self.ml.jobs.create_or_update(self.job(name, line, **more))

    def status(self, name: str) -> str:
        status = self.ml.jobs.get(name).status
        return str(getattr(status, "value", status))

    def wait(self, name: str, *wanted: str) -> str:
        return until(lambda: self.status(name), wanted or ENDED)


def until(look: Callable[[], str], wanted: tuple[str, ...]) -> str:
    deadline = time.monotonic() + SECONDS
    while (seen := look()) not in wanted:
        assert time.monotonic() < deadline, f"still {seen}"
        assert seen not in ENDED, seen
        time.sleep(0.1)
    return seen


def cluster(outputs: dict[str, Any], **more: Any) -> AmlCompute:
    identity = ManagedIdentityConfiguration(resource_id=outputs["resources"]["managed_identity"])
    asked = {"size": "Standard_NC24ads_A100_v4", "min_instances": 0, "max_instances": 1, "tier": "dedicated", **more}
    return AmlCompute(
        name=asked.pop("name", "training"),
        identity=IdentityConfiguration(type="user_assigned", user_assigned_identities=[identity]),
        idle_time_before_scale_down=60,
        **asked,
    )


@pytest.fixture(scope="module", params=["keyless", pytest.param("guide", marks=pytest.mark.long)])
def lab(request: pytest.FixtureRequest, azure: LocalAzure, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("lab")
    (folder / "code").mkdir()
    (folder / "code" / "train.py").write_text("import sys; open(sys.argv[1] + '/weights', 'w').write(sys.argv[2])\n")
    (folder / "context").mkdir()
    (folder / "context" / "Dockerfile").write_text("FROM mcr.microsoft.com/azureml/openmpi5.0-ubuntu24.04\n")
    (folder / "chat.jsonl").write_text('{"messages": []}\n')
    clients.register()
    outputs = clients.deploy(environmentName=f"phi-{request.param}", accessMode=request.param)
    made = Lab(azure, clients.ml(outputs), outputs, folder)
    made.ml.compute.begin_create_or_update(cluster(outputs)).result()
    build = BuildContext(path=folder / "context")
    made.ml.environments.create_or_update(Environment(name="phi-training", version="1", build=build))
    return made


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(HttpResponseError) as caught:
        call()
    return str(caught.value)


def test_the_workspace_has_its_datastores(lab: Lab) -> None:
    stores = {store.name: store for store in lab.ml.datastores.list()}
    assert set(stores) == {"workspaceblobstore", "workspaceartifactstore"}
    assert lab.ml.datastores.get_default().name == "workspaceblobstore"


def test_a_cluster_is_made_once_and_shows_its_state(lab: Lab) -> None:
    lab.ml.compute.begin_create_or_update(cluster(lab.outputs)).result()
    found = lab.ml.compute.get("training")
    assert (found.provisioning_state, found.min_instances, found.max_instances) == ("Succeeded", 0, 1)


def test_a_cluster_of_an_unknown_size_or_beyond_the_quota_is_refused(lab: Lab) -> None:
    begin = lab.ml.compute.begin_create_or_update
    assert "SkuNotAvailable" in refusal(lambda: begin(cluster(lab.outputs, name="other", size="Standard_NC1_v9")))
    lab.azure.control.set_quota(A100, 12)
    try:
        beyond = refusal(lambda: begin(cluster(lab.outputs, name="other", min_instances=1)))
        assert "ClusterMinNodesExceedCoreQuota" in beyond
    finally:
        lab.azure.control.set_quota(A100, 100)


def test_a_data_version_is_short_and_never_changes(lab: Lab) -> None:
    data = Data(name="phi-chat-dataset", version="a" * 24, type="uri_file", path=str(lab.folder / "chat.jsonl"))
    made = lab.ml.data.create_or_update(data)
    assert lab.ml.data.get("phi-chat-dataset", "a" * 24).path == made.path
    too_long = Data(name="phi-chat-dataset", version="a" * 31, type="uri_file", path=str(lab.folder / "chat.jsonl"))
    assert "at most 30 characters" in refusal(lambda: lab.ml.data.create_or_update(too_long))
    other = "azureml://datastores/workspaceblobstore/paths/other.jsonl"
    changed = Data(name="phi-chat-dataset", version="a" * 24, type="uri_file", path=other)
    assert "Asset paths cannot be updated" in refusal(lambda: lab.ml.data.create_or_update(changed))


@pytest.mark.filterwarnings("ignore:content_as_bytes is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The use of a 'BlobProperties' instance:DeprecationWarning")  # azure-ai-ml's own
def test_a_job_runs_and_its_output_becomes_a_model(lab: Lab) -> None:
    name = f"job-model-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    data = lab.ml.data.create_or_update(
        Data(name="phi-input", version="1", type="uri_file", path=str(lab.folder / "chat.jsonl"))
    )
    line = "cat ${{inputs.data}} && python train.py ${{outputs.model}} ${{inputs.words}}"
    lab.submit(name, line, inputs={"data": Input(type="uri_file", path=data.id), "words": "hello"})
    assert lab.wait(name) == "Completed", lab.azure.control.resource(lab.ml.jobs.get(name).id)
    assert [s for s in lab.azure.control.job_history(name) if s != "Finalizing"] == [
        "Starting",
        "Preparing",
        "Queued",
        "Running",
        "Completed",
    ]
    model = Model(name="phi-chat", version="1", type="custom_model", path=f"azureml://jobs/{name}/outputs/model/paths/")
    assert lab.ml.models.create_or_update(model).version == "1"
    lab.ml.jobs.download(name, output_name="model", download_path=lab.folder)
    assert (lab.folder / "named-outputs" / "model" / "weights").read_text() == "hello"


@pytest.mark.parametrize("version", ["1.5", "0", "latest"])
def test_a_model_version_is_a_positive_integer(lab: Lab, version: str) -> None:
    path = "azureml://datastores/workspaceblobstore/paths/out/"
    model = Model(name="phi-other", version=version, type="custom_model", path=path)
    assert "positive integers" in refusal(lambda: lab.ml.models.create_or_update(model))


def test_a_model_of_nothing_is_refused(lab: Lab) -> None:
    path = "azureml://datastores/workspaceblobstore/paths/nothing-here/"
    model = Model(name="phi-nothing", version="1", type="custom_model", path=path)
    assert "no artifacts" in refusal(lambda: lab.ml.models.create_or_update(model))


def test_one_job_name_is_executed_once(lab: Lab) -> None:
    name = f"job-once-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.submit(name)
    lab.submit(name)
    assert lab.wait(name) == "Completed"
    lab.submit(name)
    message = refusal(lambda: lab.submit(name, "echo other"))
    assert "JobPropertyImmutable" in message
    assert "Command cannot be changed" in message
    assert lab.azure.control.executed_jobs().count(name) == 1
    assert lab.status(name) == "Completed"


def test_a_lost_answer_to_a_submission_leaves_one_job(lab: Lab) -> None:
    name = f"job-lost-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.azure.control.fail_next(f"PUT /jobs/{name}", "dropped")
    lab.submit(name)  # the SDK itself asks again
    assert lab.wait(name) == "Completed"
    assert lab.azure.control.executed_jobs().count(name) == 1


def test_a_failed_job_says_why(lab: Lab) -> None:
    name = f"job-failed-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.submit(name, "echo gone wrong; exit 3")
    assert lab.wait(name) == "Failed"
    with pytest.raises(JobException, match="3"):
        lab.ml.jobs.stream(name)


def test_a_job_goes_on_on_another_node_when_its_own_is_lost(lab: Lab) -> None:
    name = f"job-node-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    kept = "${{outputs.model}}/checkpoint"
    lab.submit(name, f"if [ -e {kept} ]; then exit 0; fi; echo 1 > {kept}; sleep 60")
    lab.wait(name, "Running")
    time.sleep(2.5)  # so that the mount has brought the checkpoint to its blob
    lab.azure.control.lose_node(name)
    assert lab.wait(name) == "Completed"
    assert lab.azure.control.job_history(name).count("Running") == 2


def test_a_killed_command_fails_the_job(lab: Lab) -> None:
    name = f"job-killed-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.submit(name, "sleep 60")
    lab.wait(name, "Running")
    until(lambda: "yes" if killed(lab, name) else "no", ("yes",))
    assert lab.wait(name) == "Failed"


def killed(lab: Lab, name: str) -> bool:
    try:
        lab.azure.control.fail_job(name)
    except ControlError:
        return False  # Running is said a moment before the command starts
    return True


def test_without_its_blob_role_a_keyless_job_fails_and_names_its_identity(lab: Lab) -> None:
    oid, account = lab.identity["principalId"], lab.outputs["resources"]["storage_account"]
    role = next(r for r in lab.azure.control.roles(oid) if r["role"].startswith("Storage Blob Data"))
    lab.azure.control.take_role(role["id"])
    try:
        name = f"job-role-{lab.outputs['AZURE_RESOURCE_GROUP']}"
        lab.submit(name)
        keyless = lab.azure.control.resource(account)["properties"]["allowSharedKeyAccess"] is False  # type: ignore[index]
        assert lab.wait(name) == ("Failed" if keyless else "Completed")
        if keyless:
            with pytest.raises(JobException, match="AuthorizationPermissionMismatch"):
                lab.ml.jobs.stream(name)
    finally:
        lab.azure.control.give_role(oid, role["role"], account)


def test_a_cancelled_job_ends_as_canceled(lab: Lab) -> None:
    name = f"job-cancel-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.submit(name, "sleep 60")
    lab.wait(name, "Running")
    begun = time.monotonic()
    lab.ml.jobs.begin_cancel(name).result()
    assert lab.wait(name, "Canceled") == "Canceled"
    assert time.monotonic() - begun < 8


def test_a_job_waits_for_capacity_and_may_be_cancelled_there(lab: Lab) -> None:
    name = f"job-waits-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    lab.ml.compute.begin_create_or_update(cluster(lab.outputs, name="scarce")).result()
    lab.azure.control.capacity(False)
    try:
        lab.submit(name, compute="scarce")
        lab.wait(name, "Queued")
        time.sleep(0.6)
        assert lab.status(name) == "Queued"
        compute = lab.azure.control.resource(f"{lab.outputs['resources']['ml_workspace']}/computes/scarce")
        assert compute["properties"]["properties"]["errors"][0]["error"]["code"] == "AllocationFailed"  # type: ignore[index]
        lab.ml.jobs.begin_cancel(name).result()
        assert lab.wait(name, "Canceled") == "Canceled"
        assert name not in lab.azure.control.executed_jobs()
    finally:
        lab.azure.control.capacity(True)


def test_an_image_that_does_not_build_fails_the_job_before_it_runs(lab: Lab) -> None:
    name = f"job-image-{lab.outputs['AZURE_RESOURCE_GROUP']}"
    build = BuildContext(path=lab.folder / "context")
    lab.ml.environments.create_or_update(Environment(name="phi-broken", version="1", build=build))
    lab.azure.control.image_builds_fail()
    try:
        lab.submit(name, environment="phi-broken:1")
        assert lab.wait(name) == "Failed"
    finally:
        lab.azure.control.image_builds_fail(False)
    assert lab.azure.control.job_history(name) == ["Starting", "Preparing", "Failed"]
    assert name not in lab.azure.control.executed_jobs()
    environment = Environment(name="phi-broken", version="1", image="mcr.microsoft.com/other")
    assert "cannot be changed" in refusal(lambda: lab.ml.environments.create_or_update(environment))


def test_a_job_on_what_is_not_there_is_refused(lab: Lab) -> None:
    with pytest.raises(Exception, match=r"(?i)not found|not exist|nowhere"):
        lab.submit("job-nowhere", compute="nowhere")
    with pytest.raises(Exception, match=r"(?i)not found|not exist|leads? anywhere"):
        lab.submit("job-nothing", environment="phi-training:77")


def test_a_reader_may_look_and_not_submit(lab: Lab) -> None:
    owner = next(role["id"] for role in lab.azure.control.roles(USER) if role["role"] == "Owner")
    lab.azure.control.take_role(owner)
    reader = lab.azure.control.give_role(role="Reader")
    try:
        assert lab.ml.compute.get("training").name == "training"
        message = refusal(lambda: lab.ml.compute.begin_create_or_update(cluster(lab.outputs, name="mine")))
        assert "Microsoft.MachineLearningServices/workspaces/computes/write" in message
        message = refusal(lambda: lab.submit("job-of-a-reader", code=None))
        assert "Microsoft.MachineLearningServices/workspaces/jobs/write" in message
    finally:
        lab.azure.control.give_role()
        lab.azure.control.take_role(reader)


def test_idle_nodes_go_away(lab: Lab) -> None:
    compute = f"{lab.outputs['resources']['ml_workspace']}/computes/training"
    lab.azure.control.scale(0.01)
    try:
        name = f"job-idle-{lab.outputs['AZURE_RESOURCE_GROUP']}"
        lab.submit(name)
        lab.wait(name)
        deadline = time.monotonic() + SECONDS
        nodes = lambda: lab.azure.control.resource(compute)["properties"]["properties"]["currentNodeCount"]  # type: ignore[index]  # noqa: E731
        while nodes():
            assert time.monotonic() < deadline
            time.sleep(0.2)
    finally:
        lab.azure.control.scale(0.2)
