"""The stub `az` serves azure-identity as the Azure CLI does."""

import base64
import json
import subprocess
import time
from pathlib import Path

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AzureCliCredential, CredentialUnavailableError, DefaultAzureCredential

from azure_emulator.identity import az_login
from azure_emulator.identity.az_login import Login
from azure_emulator.identity.identities import SUBSCRIPTION, TENANT, USER
from azure_emulator.identity.tokens import Tokens

SCOPE = "https://storage.azure.com/.default"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = az_login.install(tmp_path)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


def az(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([state / "bin" / "az", *words], capture_output=True, text=True, check=False)


def test_the_sdk_gets_a_token_of_the_signed_in_person(state: Path) -> None:
    token = AzureCliCredential().get_token(SCOPE)
    assert Tokens(state).read(token.token, SCOPE).oid == USER
    assert 3500 < token.expires_on - time.time() <= 3600


def test_a_token_for_one_service_does_not_open_another(state: Path) -> None:
    token = AzureCliCredential().get_token("https://management.azure.com/.default")
    with pytest.raises(ValueError, match=r"[Aa]udience"):
        Tokens(state).read(token.token, SCOPE)


@pytest.mark.guide("az-login")
def test_the_default_credential_finds_the_login(state: Path) -> None:
    credential = DefaultAzureCredential(exclude_managed_identity_credential=True)
    claims = credential.get_token(SCOPE).token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["oid"] == USER


def test_signed_out_reads_please_run_az_login(state: Path) -> None:
    az(state, "logout")
    with pytest.raises(CredentialUnavailableError, match="az login"):
        AzureCliCredential().get_token(SCOPE)
    assert "Please run 'az login'" in az(state, "account", "show").stderr


def test_signing_in_again_mends_it(state: Path) -> None:
    az(state, "logout")
    az(state, "login")
    assert AzureCliCredential().get_token(SCOPE).token


def test_an_expired_login_says_so(state: Path) -> None:
    az_login.save(state, Login(state="expired"))
    with pytest.raises(ClientAuthenticationError, match="AADSTS70043"):
        AzureCliCredential().get_token(SCOPE)


def test_another_tenant_is_not_found(state: Path) -> None:
    with pytest.raises(ClientAuthenticationError, match="AADSTS90002"):
        AzureCliCredential(tenant_id="99999999-9999-9999-9999-999999999999").get_token(SCOPE)
    assert AzureCliCredential(tenant_id=TENANT).get_token(SCOPE).token


def test_another_subscription_is_not_found(state: Path) -> None:
    with pytest.raises(ClientAuthenticationError, match="not found"):
        AzureCliCredential(subscription="99999999-9999-9999-9999-999999999999").get_token(SCOPE)


def test_account_show_names_the_subscription(state: Path) -> None:
    assert json.loads(az(state, "account", "show").stdout)["id"] == SUBSCRIPTION
    assert az(state, "account", "show", "--query", "id", "-o", "tsv").stdout.strip() == SUBSCRIPTION


def test_a_command_that_the_stub_does_not_know_is_refused(state: Path) -> None:
    assert az(state, "group", "delete").returncode == 2
    assert json.loads(az(state, "version").stdout)["azure-cli"]
