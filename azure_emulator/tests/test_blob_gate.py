"""The blob gate authorizes requests of the real client as Azure does."""

import base64
import datetime
import tracemalloc
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.credentials import AccessToken, AzureSasCredential
from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    ExponentialRetry,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from azure_emulator.blob_storage import sas
from azure_emulator.blob_storage.azurite import AzuriteMissing
from azure_emulator.blob_storage.blob_path import BlobPath
from azure_emulator.testing.data_plane_alone import CONTRIBUTOR, KEYED, KEYLESS, READER, DataPlane, running

pytestmark = pytest.mark.azure

WRITER, READS, NOBODY = "writer", "reads", "nobody"
NOW = datetime.datetime.now(datetime.UTC)
LATER = NOW + datetime.timedelta(hours=1)
MEGABYTE = 1024 * 1024


class TokenOf:
    """A credential of one principal, or with a given token."""

    def __init__(self, plane: DataPlane, oid: str, audience: str = "", seconds: float = 3600, token: str = "") -> None:
        self.plane, self.oid, self.audience, self.seconds, self.token = plane, oid, audience, seconds, token

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        token = self.token or self.plane.tokens.issue(self.oid, self.audience or scopes[0], seconds=self.seconds)
        return AccessToken(token, int(datetime.datetime.now().timestamp()) + 3600)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DataPlane]:
    try:
        with running(tmp_path_factory.mktemp("gate")) as made:
            for account in (KEYLESS, KEYED):
                made.give(WRITER, CONTRIBUTOR, account)
                made.give(READS, READER, account)
                made.gate.ensure_container(account, "models")
                made.store.write(BlobPath(account, "models", "a/b c+é%.txt"), b"hello")
            yield made
    except AzuriteMissing as e:
        pytest.skip(str(e))


def address(account: str) -> str:
    return f"https://{account}.blob.core.windows.net"


def service(credential: Any, account: str = KEYLESS) -> BlobServiceClient:
    return BlobServiceClient(address(account), credential=credential, retry_total=0)


def models(credential: Any, account: str = KEYLESS) -> ContainerClient:
    return service(credential, account).get_container_client("models")


def code_of(call: Callable[[], Any]) -> tuple[int | None, str | None]:
    with pytest.raises(HttpResponseError) as caught:
        call()
    return caught.value.status_code, getattr(caught.value, "error_code", None)


def test_a_writer_makes_reads_lists_and_deletes(plane: DataPlane) -> None:
    container = service(TokenOf(plane, WRITER)).create_container("fresh")
    container.upload_blob("folder/x", b"one", metadata={"made_by": "me"})
    assert container.download_blob("folder/x").readall() == b"one"
    assert container.get_blob_client("folder/x").get_blob_properties().metadata == {"made_by": "me"}
    assert [blob.name for blob in container.list_blobs(name_starts_with="folder/")] == ["folder/x"]
    container.delete_blob("folder/x")
    assert list(container.list_blobs()) == []
    container.delete_container()


def test_names_pass_the_gate_as_they_are(plane: DataPlane) -> None:
    assert models(TokenOf(plane, READS)).download_blob("a/b c+é%.txt").readall() == b"hello"
    assert [blob.name for blob in models(TokenOf(plane, READS)).list_blobs(name_starts_with="a/b c+")] == [
        "a/b c+é%.txt"
    ]


READING = {
    "download": lambda c: c.download_blob("a/b c+é%.txt"),
    "properties": lambda c: c.get_blob_client("a/b c+é%.txt").get_blob_properties(),
    "list": lambda c: list(c.list_blobs()),
    "container": lambda c: c.get_container_properties(),
}
WRITING = {
    "upload": lambda c: c.upload_blob("new", b"x", overwrite=True),
    "append": lambda c: c.get_blob_client("log").create_append_blob(),
    "block": lambda c: c.get_blob_client("new").stage_block("AAAA", b"x"),
    "metadata": lambda c: c.get_blob_client("a/b c+é%.txt").set_blob_metadata({"x": "y"}),
    "delete": lambda c: c.delete_blob("a/b c+é%.txt"),
    "container": lambda c: c.delete_container(),
}


@pytest.mark.parametrize("what", READING)
def test_a_reader_may_read(plane: DataPlane, what: str) -> None:
    READING[what](models(TokenOf(plane, READS)))


@pytest.mark.parametrize("what", WRITING)
def test_a_reader_may_not_write(plane: DataPlane, what: str) -> None:
    refused = code_of(lambda: WRITING[what](models(TokenOf(plane, READS))))
    assert refused == (403, "AuthorizationPermissionMismatch")


@pytest.mark.parametrize("what", [*READING, *WRITING])
def test_without_a_role_nothing_is_allowed(plane: DataPlane, what: str) -> None:
    call = {**WRITING, **READING}[what]
    status, code = code_of(lambda: call(models(TokenOf(plane, NOBODY))))
    # HEAD has no body and the SDK maps its 403 by the header.
    assert (status, code) == (403, "AuthorizationPermissionMismatch")


def test_an_owner_of_the_subscription_has_no_data_role_by_that(plane: DataPlane) -> None:
    owner = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
    plane.give("owner", owner)
    refused = code_of(lambda: models(TokenOf(plane, "owner")).download_blob("a/b c+é%.txt"))
    assert refused == (403, "AuthorizationPermissionMismatch")
    assert models(TokenOf(plane, "owner")).get_container_properties()


def test_a_role_taken_away_is_missed_at_once(plane: DataPlane) -> None:
    assigned = plane.give("brief", CONTRIBUTOR)
    models(TokenOf(plane, "brief")).upload_blob("by-brief", b"")
    plane.take(assigned)
    assert code_of(lambda: models(TokenOf(plane, "brief")).delete_blob("by-brief"))[0] == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"audience": "https://management.azure.com"},
        {"seconds": -10},
        {"token": "not.a.token"},
    ],
)
def test_a_token_that_is_not_good_is_401_with_a_challenge(plane: DataPlane, wrong: dict[str, Any]) -> None:
    token = TokenOf(plane, WRITER, **wrong).get_token("https://storage.azure.com/.default").token
    headers = {"Authorization": f"Bearer {token}", "x-ms-version": "2021-12-02"}
    answer = requests.get(f"{address(KEYLESS)}/models?restype=container&comp=list", headers=headers, timeout=20)
    assert answer.status_code == 401
    assert answer.headers["x-ms-error-code"] == "InvalidAuthenticationInfo"
    assert "authorization_uri=https://login.microsoftonline.com/" in answer.headers["WWW-Authenticate"]
    assert answer.headers["x-ms-request-id"]


def test_a_request_without_any_authentication_is_401(plane: DataPlane) -> None:
    answer = requests.get(f"{address(KEYLESS)}/models/a", timeout=20)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (401, "NoAuthenticationInformation")


def test_with_keys_off_neither_key_nor_key_signature_opens(plane: DataPlane) -> None:
    key = plane.gate.key_of(KEYLESS)
    expected = (403, "KeyBasedAuthenticationNotPermitted")
    assert code_of(lambda: list(models(key).list_blobs())) == expected
    account = generate_account_sas(KEYLESS, key, ResourceTypes(container=True, object=True), "rl", LATER)
    assert code_of(lambda: list(models(AzureSasCredential(account)).list_blobs())) == expected
    container = generate_container_sas(KEYLESS, "models", account_key=key, permission="rl", expiry=LATER)
    assert code_of(lambda: list(models(AzureSasCredential(container)).list_blobs())) == expected


def test_with_keys_on_both_keys_open_and_wrong_ones_do_not(plane: DataPlane) -> None:
    for number in (1, 2):
        found = models(plane.gate.key_of(KEYED, number), KEYED)
        found.upload_blob("with/é key", b"1", overwrite=True, metadata={"a_b": "c"})
        assert [blob.name for blob in found.list_blobs(name_starts_with="with/")] == ["with/é key"]
    wrong = base64.b64encode(b"0" * 64).decode()
    assert code_of(lambda: list(models(wrong, KEYED).list_blobs())) == (403, "AuthenticationFailed")


def account_signature(plane: DataPlane, **changed: str | None) -> str:
    """The SDK's account signature with fields changed, or left out where None, and signed again."""
    key = plane.gate.key_of(KEYED)
    text = generate_account_sas(KEYED, key, ResourceTypes(container=True, object=True), "rl", LATER)
    fields = {**dict(urllib.parse.parse_qsl(text)), **changed}
    kept = {name: value for name, value in fields.items() if value is not None and name != "sig"}
    kept["sig"] = sas.sign(key, sas._account_text(KEYED, kept))
    return urllib.parse.urlencode(kept, quote_via=urllib.parse.quote)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ss": "f"}, "AuthorizationServiceMismatch"),
        ({"srt": None}, "AuthenticationFailed"),
        ({"sip": "203.0.113.7"}, "AuthorizationSourceIPMismatch"),
        ({"sip": "10.0.0.1-10.0.0.9"}, "AuthorizationSourceIPMismatch"),
        ({"sip": "127.0.0.0-127.0.0.9"}, None),
        ({}, None),
    ],
)
def test_an_account_signature_is_for_its_services_and_addresses_only(
    plane: DataPlane, changed: dict[str, str | None], code: str | None
) -> None:
    opened = models(AzureSasCredential(account_signature(plane, **changed)), KEYED)
    if code:
        assert code_of(lambda: list(opened.list_blobs())) == (403, code)
    else:
        assert list(opened.list_blobs())


def test_a_regenerated_key_ends_what_it_signed(plane: DataPlane) -> None:
    old = plane.gate.key_of(KEYED, 2)
    signed = generate_container_sas(KEYED, "models", account_key=old, permission="rl", expiry=LATER)
    assert list(models(AzureSasCredential(signed), KEYED).list_blobs())
    plane.gate.regenerate_key(KEYED, 2)
    assert code_of(lambda: list(models(AzureSasCredential(signed), KEYED).list_blobs())) == (
        403,
        "AuthenticationFailed",
    )


def test_a_planted_key_is_used(plane: DataPlane) -> None:
    canary = base64.b64encode(b"canary" * 10).decode()
    plane.gate.regenerate_key(KEYED, 2, canary)
    assert list(models(canary, KEYED).list_blobs())


def delegation(plane: DataPlane, oid: str = WRITER, account: str = KEYLESS) -> Any:
    return service(TokenOf(plane, oid), account).get_user_delegation_key(NOW, LATER)


def test_a_delegated_signature_gives_its_letters_and_no_more(plane: DataPlane) -> None:
    signed = generate_container_sas(
        KEYLESS, "models", user_delegation_key=delegation(plane), permission="rl", expiry=LATER
    )
    container = models(AzureSasCredential(signed))
    assert [blob.name for blob in container.list_blobs(name_starts_with="a/")] == ["a/b c+é%.txt"]
    assert container.download_blob("a/b c+é%.txt").readall() == b"hello"
    assert code_of(lambda: container.upload_blob("z", b"")) == (403, "AuthorizationPermissionMismatch")
    assert code_of(container.get_container_properties) == (403, "AuthorizationResourceTypeMismatch")


def test_a_signature_on_one_blob_opens_that_blob_only(plane: DataPlane) -> None:
    plane.store.write(BlobPath(KEYLESS, "models", "other"), b"")
    key = delegation(plane)
    signed = generate_blob_sas(KEYLESS, "models", "a/b c+é%.txt", user_delegation_key=key, permission="r", expiry=LATER)
    opened = BlobClient(address(KEYLESS), "models", "a/b c+é%.txt", credential=AzureSasCredential(signed))
    assert opened.download_blob().readall() == b"hello"
    other = BlobClient(address(KEYLESS), "models", "other", credential=AzureSasCredential(signed), retry_total=0)
    assert code_of(other.download_blob) == (403, "AuthenticationFailed")


def test_an_expired_or_altered_signature_is_refused(plane: DataPlane) -> None:
    key = delegation(plane)
    past = NOW - datetime.timedelta(minutes=1)
    expired = generate_container_sas(KEYLESS, "models", user_delegation_key=key, permission="rl", expiry=past)
    assert code_of(lambda: list(models(AzureSasCredential(expired)).list_blobs())) == (403, "AuthenticationFailed")
    good = generate_container_sas(KEYLESS, "models", user_delegation_key=key, permission="rl", expiry=LATER)
    altered = good.replace("sp=rl", "sp=rwl")
    assert altered != good
    assert code_of(lambda: models(AzureSasCredential(altered)).upload_blob("z", b"")) == (403, "AuthenticationFailed")


def test_a_delegated_signature_is_worth_no_more_than_its_signer(plane: DataPlane) -> None:
    assigned = plane.give("leaver", READER)
    key = delegation(plane, "leaver")
    signed = generate_container_sas(KEYLESS, "models", user_delegation_key=key, permission="rwl", expiry=LATER)
    container = models(AzureSasCredential(signed))
    assert list(container.list_blobs())
    assert code_of(lambda: container.upload_blob("z", b"")) == (403, "AuthorizationPermissionMismatch")
    plane.take(assigned)
    assert code_of(lambda: list(container.list_blobs())) == (403, "AuthorizationPermissionMismatch")


def test_who_has_no_role_gets_no_delegation_key(plane: DataPlane) -> None:
    assert code_of(lambda: delegation(plane, NOBODY)) == (403, "AuthorizationPermissionMismatch")


@pytest.mark.parametrize("account", [KEYLESS, KEYED])
def test_the_platforms_own_signature_opens_its_container(plane: DataPlane, account: str) -> None:
    signed = plane.gate.container_sas(account, "models", "rwl", hours=1)
    assert ("skoid" in urllib.parse.parse_qs(signed)) == (account == KEYLESS)
    models(AzureSasCredential(signed), account).upload_blob("from-outside", b"1", overwrite=True)


def test_accounts_do_not_share_containers(plane: DataPlane) -> None:
    service(TokenOf(plane, WRITER)).create_container("only-here")
    with pytest.raises(ResourceNotFoundError):
        service(TokenOf(plane, WRITER), KEYED).get_container_client("only-here").get_container_properties()
    with pytest.raises(ResourceExistsError):
        service(TokenOf(plane, WRITER)).create_container("only-here")


def test_an_account_that_does_not_exist_cannot_be_reached(plane: DataPlane) -> None:
    with pytest.raises(AzureError, match="Tunnel connection failed"):
        list(models(TokenOf(plane, WRITER), "stnobodys").list_blobs())


def test_what_is_not_emulated_says_so(plane: DataPlane) -> None:
    blob = models(TokenOf(plane, WRITER)).get_blob_client("copy")
    status, code = code_of(lambda: blob.start_copy_from_url(f"{address(KEYLESS)}/models/other"))
    assert (status, code) == (501, "NotImplemented")


def test_requests_are_logged_by_identity_without_their_signature(plane: DataPlane) -> None:
    plane.log.clear()
    models(TokenOf(plane, WRITER)).upload_blob("logged", b"", overwrite=True)
    list(models(AzureSasCredential(plane.gate.container_sas(KEYLESS, "models", "l", 1))).list_blobs())
    code_of(lambda: list(models(TokenOf(plane, NOBODY)).list_blobs()))
    found = [(r["verb"], r["identity"].partition(":")[0], r["status"]) for r in plane.log.find("blob")]
    assert found == [("PUT", WRITER, 201), ("GET", "sas", 200), ("GET", NOBODY, 403)]
    assert not any("sig=" in str(record) for record in plane.log.find())


def test_a_busy_server_is_tried_again(plane: DataPlane) -> None:
    plane.log.clear()
    plane.faults.fail_next("put blob busy", "503")
    again = ExponentialRetry(initial_backoff=0, increment_base=0, random_jitter_range=0)  # of itself it waits 15 s
    patient = BlobServiceClient(address(KEYLESS), credential=TokenOf(plane, WRITER), retry_policy=again)
    patient.get_blob_client("models", "busy").upload_blob(b"", overwrite=True)
    assert [r["status"] for r in plane.log.find("blob", match="busy")] == [503, 201]


def test_a_dropped_answer_leaves_the_work_done(plane: DataPlane) -> None:
    plane.faults.fail_next("put blob dropped", "dropped")
    with pytest.raises(AzureError):
        models(TokenOf(plane, WRITER)).get_blob_client("dropped").upload_blob(b"kept", overwrite=True)
    assert plane.store.read(BlobPath(KEYLESS, "models", "dropped")) == b"kept"


def test_a_timed_out_request_does_nothing(plane: DataPlane) -> None:
    plane.faults.hold_seconds = 0.2
    plane.faults.fail_next("put blob never", "timeout")
    with pytest.raises(AzureError):
        models(TokenOf(plane, WRITER)).get_blob_client("never").upload_blob(b"", overwrite=True)
    assert not plane.store.exists(BlobPath(KEYLESS, "models", "never"))


@pytest.mark.long
def test_three_hundred_megabytes_pass_in_little_memory(plane: DataPlane, tmp_path: Path) -> None:
    size = 300 * MEGABYTE
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        for number in range(300):
            file.write(bytes([number % 251]) * MEGABYTE)
    pieces = 4 * MEGABYTE  # the client's own first read is of 256 MB
    container = ContainerClient(address(KEYLESS), "models", TokenOf(plane, WRITER), max_single_get_size=pieces)
    tracemalloc.start()
    with source.open("rb") as file:
        container.upload_blob("large", file, overwrite=True, length=size)
    with target.open("wb") as file:
        container.download_blob("large").readinto(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * MEGABYTE  # of client, proxy and gate together
    assert target.stat().st_size == size
    with source.open("rb") as one, target.open("rb") as other:
        while chunk := one.read(MEGABYTE):
            assert other.read(MEGABYTE) == chunk
    container.delete_blob("large")
