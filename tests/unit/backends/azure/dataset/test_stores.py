"""Datasets and base models on the local Azure: uploaded once, identified by content, downloaded when lost locally."""

import json
import shutil
from pathlib import Path

import pytest

from azure_emulator.control import Control
from azure_emulator.identity.identities import USER
from phi_assets.backends.azure.client.azure_errors import AzureRefused
from phi_assets.backends.azure.dataset.blob_feed import BlobFeed
from phi_assets.backends.azure.dataset.store import AzureDatasetStore
from phi_assets.backends.azure.storage import blob, data_assets
from phi_assets.conversations.sources.feeds import Scan
from phi_assets.ports.dataset import DatasetStore
from tests.support.azure_jobs import MARKS, Work, prepared
from tests.support.azure_place import Place

pytestmark = MARKS


@pytest.fixture(scope="module")
def work(control: Control, tmp_path_factory) -> Work:
    return prepared(Place(control, tmp_path_factory.mktemp("home")))


def blobs(work: Work) -> blob.WorkspaceBlobs:
    return blob.WorkspaceBlobs(work.place.clients, work.place.log, 0.5)


@pytest.mark.guide("download-dataset")
def test_a_published_dataset_is_a_data_asset_that_knows_its_whole_digest(work: Work):
    version = work.dataset_store.publish(work.place.log)
    asset = work.place.clients.ml().data.get("phi-chat-dataset", version.digest[:24])
    assert asset.tags["digest"] == version.digest
    assert asset.path.endswith(f"/paths/phi/datasets/{version.digest}/")
    assert work.dataset_store.find(version.digest) == version
    assert (work.dataset_store.folder(version) / "train.jsonl").is_file()


def test_what_is_there_is_not_uploaded_or_registered_again(work: Work):
    work.dataset_store.publish(work.place.log)
    base = work.base_model_store.resolve(work.place.log)
    work.control.forget_requests()
    assert work.base_model_store.resolve(work.place.log) == base
    work.dataset_store.publish(work.place.log)
    assert not work.place.writes("ml")
    # The manifest says when it was read, and so it is the one file that is new.
    assert len(work.place.writes("blob")) <= 2


def test_a_dataset_is_found_by_three_requests(work: Work):
    version = work.dataset_store.publish(work.place.log)
    work.control.forget_requests()
    assert work.dataset_store.find(version.digest) == version
    assert [request["path"].rpartition("/")[2] for request in work.control.requests(service="ml")] == [
        version.digest[:24],
        blob.DATASTORE,
    ]
    assert len(work.control.requests(service="blob")) == 1


def test_what_was_deleted_from_the_container_is_not_found_and_comes_back(work: Work):
    version, base = work.dataset_store.publish(work.place.log), work.base_model_store.resolve(work.place.log)
    for kept, path in ((version, "train.jsonl"), (base, "model.safetensors")):
        blobs(work).remove(blob.path_of(kept.address) + path)

    assert work.dataset_store.find(version.digest) is None
    assert work.base_model_store.find(base.digest) is None
    work.dataset_store.publish(work.place.log)
    work.base_model_store.resolve(work.place.log)
    assert work.dataset_store.find(version.digest) == version
    assert work.base_model_store.find(base.digest) == base


def test_what_the_person_may_not_look_at_is_taken_to_be_there_at_once(work: Work):
    version = work.dataset_store.publish(work.place.log)
    roles = [role for role in work.control.roles(USER) if role["role"] == "Storage Blob Data Contributor"]
    for role in roles:
        work.control.take_role(role["id"])

    found = work.dataset_store.find(version.digest)
    for role in roles:
        work.control.give_role(USER, role["role"], role["scope"], delay=0)

    assert found == version


def test_a_digest_that_nobody_published_is_not_found(work: Work):
    assert work.dataset_store.find("0" * 64) is None
    assert work.base_model_store.find("0" * 32) is None


def test_folders_that_this_machine_lost_come_back(work: Work):
    version, base = work.dataset_store.publish(work.place.log), work.base_model_store.resolve(work.place.log)
    train = (work.dataset_store.folder(version) / "train.jsonl").read_bytes()
    for name in ("datasets", "base_models"):
        shutil.rmtree(work.state / name)
    assert (work.dataset_store.folder(version) / "train.jsonl").read_bytes() == train
    assert (work.base_model_store.folder(base) / "model.safetensors").is_file()


def test_a_version_taken_by_other_content_is_refused_with_the_remedy(work: Work):
    from azure.ai.ml.entities import Data

    path = blob.address("phi/elsewhere/")
    work.place.clients.ml().data.create_or_update(
        Data(name="taken", version="7" * 24, type="uri_folder", path=path, tags={"digest": "other"})
    )
    with pytest.raises(AzureRefused) as refusal:
        data_assets.ensure(
            work.place.clients,
            "taken",
            "7" * 64,
            "phi/here/",
            description="",
            tags={},
            log=work.place.log,
            role_minutes=0.5,
        )
    assert "archive" in str(refusal.value.description) or "taken" in str(refusal.value.description)


def test_an_uploaded_folder_is_what_was_here(work: Work, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "large.bin").write_bytes(bytes(range(256)) * 40_000)
    (source / "empty.txt").touch()
    assert blobs(work).upload(source, "phi/test/") == 2
    assert blobs(work).upload(source, "phi/test/") == 0
    blobs(work).download("phi/test/", target)
    assert (target / "inner" / "large.bin").read_bytes() == (source / "inner" / "large.bin").read_bytes()
    assert (target / "empty.txt").read_bytes() == b""
    blobs(work).remove("phi/test/")
    assert blobs(work).names("phi/test/") == []


def test_blobs_under_the_inbox_are_new_conversations_and_fetched_once(work: Work, tmp_path):
    def inbox(patient: bool = True) -> BlobFeed:
        return BlobFeed(work.place.clients, "inbox/", tmp_path / "mirror", 0.5 if patient else 0.0)

    def send(**named: bytes) -> None:
        for name, content in named.items():
            blobs(work).write(f"inbox/{name}.jsonl", content)

    assert inbox().scan() == Scan("blobs under inbox/")
    send(one=b'{"messages": []}\n', two=b'{"messages": [1]}\n', empty=b"")
    blobs(work).write("inbox/.hidden.jsonl", b"{}\n")
    blobs(work).write("inbox/../up/three.csv", b"a,b\n")
    first = inbox(patient=False).scan()
    assert [piece.name for piece in first.pieces] == ["inbox/one.jsonl", "inbox/two.jsonl"]
    assert {each.name.rpartition("/")[2] for each in first.skipped} == {"empty.jsonl"}
    work.control.forget_requests()
    assert inbox().scan() == first
    assert len(work.control.requests(service="blob")) == 1
    (tmp_path / "mirror" / "index.json").write_text("damaged")
    send(one=b'{"messages": [2]}\n')
    blobs(work).remove("inbox/two.jsonl")
    changed = inbox().scan()
    assert [piece.name for piece in changed.pieces] == ["inbox/one.jsonl"]
    assert changed.pieces[0].sha256 != first.pieces[0].sha256
    assert isinstance(changed.pieces[0].origin, Path)
    assert changed.pieces[0].origin.read_bytes() == b'{"messages": [2]}\n'
    work.control.forget_requests()
    inbox().scan()
    assert len(work.control.requests(service="blob")) == 1
    blobs(work).remove("inbox/")


def test_conversations_on_blob_are_published_beside_those_here_and_once(work: Work):
    fields = {**work.dataset_store.model_dump(), "blob_inbox": "arrived/"}
    store = AzureDatasetStore(**fields)
    before, told = store.publish(work.place.log), store.source_fingerprint()
    row = {"messages": [{"role": "user", "content": "What is Umbra?"}, {"role": "assistant", "content": "A lamp."}]}
    for name in ("a", "a copy"):
        blobs(work).write(f"arrived/{name}.jsonl", json.dumps(row).encode() + b"\n")
    assert store.source_fingerprint() != told
    after = store.publish(work.place.log)
    assert sum(after.rows.values()) == sum(before.rows.values()) + 1
    blobs(work).remove("arrived/a.jsonl")
    assert store.publish(work.place.log).digest == after.digest
    blobs(work).remove("arrived/")
    assert store.source_fingerprint() == told


def test_before_the_workspace_exists_there_are_no_blobs(control: Control, tmp_path):
    nowhere = Place(control, tmp_path, "nowhere")
    assert BlobFeed(nowhere.clients, "inbox/", tmp_path / "mirror", 0.0).scan().pieces == ()


def test_the_store_is_a_dataset_store(work: Work):
    assert isinstance(work.dataset_store, DatasetStore)
    assert work.dataset_store.source_fingerprint() == work.dataset_store.source_fingerprint()
