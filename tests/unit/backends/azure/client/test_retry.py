"""Which errors are retried, which are not, and the text of a refusal; without network."""

import json
import time
from types import SimpleNamespace

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError, ServiceRequestError, ServiceResponseError

from phi_assets.backends.azure.client import azure_errors, retry, role_delay
from phi_assets.backends.azure.client import credential as tokens
from phi_assets.backends.azure.client.azure_errors import AzureRefused, GaveUp, NotSignedIn, cause_of, refused
from phi_assets.backends.azure.client.retry import with_retries
from phi_assets.backends.azure.client.role_delay import call_waiting_for_role, call_with_retries, wait_for_role


@pytest.fixture(autouse=True)
def slept(monkeypatch) -> list[float]:
    """Seconds slept, none of them really."""
    found: list[float] = []
    clock = SimpleNamespace(sleep=found.append, monotonic=lambda: sum(found))
    monkeypatch.setattr(retry, "time", clock)
    monkeypatch.setattr(role_delay, "time", clock)
    return found


def answer(status: int, code: str = "", message: str = "no", headers: dict | None = None, details: list | None = None):
    body = {"error": {"code": code, "message": message, "details": details or []}}
    response = SimpleNamespace(
        status_code=status, reason="x", headers=headers or {}, json=lambda: body, text=lambda: json.dumps(body)
    )
    return HttpResponseError(message=message, response=response)


def failing(*problems: Exception):
    """A call that raises each problem in turn, then returns `done`."""
    left = list(problems)

    def call() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return call


@pytest.mark.parametrize(
    "problem",
    [answer(429), answer(500), answer(503), answer(504), ServiceRequestError("x"), ServiceResponseError("timed out")],
    ids=str,
)
def test_what_passes_is_asked_again(problem):
    assert with_retries("x", failing(problem, problem)) == "done"


@pytest.mark.parametrize(
    "problem", [answer(400), answer(403), answer(404), answer(409), ResourceNotFoundError("x")], ids=str
)
def test_what_does_not_pass_is_raised_as_it_is(problem, slept):
    with pytest.raises(type(problem)):
        with_retries("x", failing(problem))

    assert slept == []


def test_a_server_is_waited_for_as_long_as_it_asks(slept):
    with_retries("x", failing(answer(429, headers={"Retry-After": "17"})))

    assert slept == [17.0]


def test_patience_ends_with_what_was_asked():
    with pytest.raises(GaveUp, match="reading the group: Azure did not answer within 1 minutes"):
        with_retries("reading the group", failing(*[answer(503)] * 500), minutes=1)


def test_an_expired_token_is_replaced_and_a_wrong_one_is_not_asked_about_forever(monkeypatch):
    forgotten = []
    monkeypatch.setattr(tokens, "forget", lambda: forgotten.append(1))
    expired = answer(401, "ExpiredAuthenticationToken")

    assert with_retries("x", failing(expired)) == "done"
    with pytest.raises(HttpResponseError):
        with_retries("x", failing(*[expired] * 9))
    assert len(forgotten) == 1 + retry.MAX_TOKEN_REFRESHES


def test_a_role_is_waited_for_with_a_word_every_half_minute(slept):
    said: list[str] = []
    lacking = answer(403, "AuthorizationPermissionMismatch")

    assert wait_for_role(failing(*[lacking] * 12), "uploading", said.append) == "done"

    assert 2 <= len(said) <= 1 + sum(slept) / 30
    assert said[0] == "uploading: a role has not taken effect yet; waiting, 0.0 of 30 minutes so far"


def test_a_role_that_does_not_come_ends_with_the_setting():
    with pytest.raises(AzureRefused, match="PHI_AZURE_ROLE_MINUTES"):
        wait_for_role(failing(*[answer(403, "AuthorizationFailed")] * 500), "uploading", lambda _: None, minutes=5)


def test_another_403_is_not_waited_for(slept):
    with pytest.raises(HttpResponseError):
        wait_for_role(failing(answer(403, "RequestDisallowedByPolicy")), "uploading", lambda _: None)

    assert slept == []


def in_azure_ml_s_words(cause: Exception | None) -> Exception:
    """The exception by which azure-ai-ml tells a person of a refused upload: its cause is a context's cause."""
    from azure.ai.ml.exceptions import MlException, ValidationException

    def raise_it() -> None:
        try:
            raise ValidationException(message="no permission", no_personal_data_message="") from cause
        except ValidationException as e:
            raise MlException(message=str(e), no_personal_data_message="")  # noqa: B904  (as the SDK does)

    try:
        raise_it()
    except MlException as e:
        return e
    raise AssertionError


@pytest.mark.filterwarnings("ignore::marshmallow.warnings.RemovedInMarshmallow4Warning")
def test_a_refusal_that_azure_ml_put_into_its_own_words_is_waited_for_as_a_role():
    lacking = answer(403, "AuthorizationPermissionMismatch")
    wrapped = in_azure_ml_s_words(lacking)

    assert cause_of(wrapped) is lacking
    assert call_waiting_for_role(failing(wrapped, wrapped), "submitting", lambda _: None) == "done"
    with pytest.raises(AzureRefused, match="materialise role_assignments"):
        call_waiting_for_role(failing(*[wrapped] * 500), "submitting", lambda _: None, minutes=5)


@pytest.mark.filterwarnings("ignore::marshmallow.warnings.RemovedInMarshmallow4Warning")
def test_azure_ml_s_own_refusal_is_told_in_its_words():
    bare = in_azure_ml_s_words(None)
    bare.__cause__ = bare

    assert cause_of(bare) is bare
    with pytest.raises(AzureRefused, match="submitting: no permission"):
        call_waiting_for_role(failing(bare), "submitting")


def test_a_refusal_is_told_at_once_to_whom_does_not_wait(slept):
    with pytest.raises(AzureRefused, match="Ask an owner"):
        call_with_retries(failing(answer(403, "AuthorizationFailed")), "listing")

    assert slept == []


def test_the_innermost_known_cause_is_told():
    nested = answer(
        400,
        "DeploymentFailed",
        "At least one resource deployment operation failed.",
        details=[{"code": "Conflict", "details": [{"code": "SkuNotAvailable", "message": "no A100 here"}]}],
    )

    told = str(refused("deploying", nested))

    assert told == (
        "deploying: no A100 here (SkuNotAvailable). Set PHI_AZURE_LOCATION to a region that offers it: "
        "az account list-locations -o table"
    )


def test_a_missing_right_names_who_what_where_and_the_command():
    message = (
        "The client 'ann@example.com' with object id '1' does not have authorization to perform action "
        "'Microsoft.Authorization/roleAssignments/write' over scope '/subscriptions/s' or the scope is invalid."
    )

    told = str(refused("deploying", answer(403, "AuthorizationFailed", message)))

    assert (
        "ann@example.com is not allowed to perform Microsoft.Authorization/roleAssignments/write on /subscriptions/s"
        in told
    )
    assert (
        "--assignee ann@example.com --role 'Role Based Access Control Administrator' --scope /subscriptions/s" in told
    )


def test_a_role_in_cosmos_db_is_given_by_who_may_change_its_account():
    message = (
        "The client 'ann@example.com' with object id '1' does not have authorization to perform action "
        "'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments/write' over scope '/subscriptions/s' or so."
    )

    assert "--role 'Contributor'" in str(refused("deploying", answer(403, "AuthorizationFailed", message)))


def test_every_cure_can_be_said():
    for code in azure_errors.REMEDIES:
        assert "{" not in azure_errors.cause_with_remedy([(code, "because")])


def test_signing_in_is_asked_for_once_and_kept(monkeypatch):
    asked = []
    token = SimpleNamespace(token="a.b.c", expires_on=10**12)

    def ask(*scopes, options):
        asked.append(scopes)
        return token

    monkeypatch.setattr(tokens, "_default_chain", lambda: SimpleNamespace(get_token_info=ask))
    credential = tokens.Credential()

    assert credential.get_token_info("s") is token
    assert credential.get_token("s").token == "a.b.c"
    assert asked == [("s",)]
    tokens.forget()
    credential.get_token("s")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Please run 'az login' to set up an account", "not signed in to Azure: run `az login`"),
        ("AADSTS70043: The refresh token has expired", "your sign-in to Azure has expired: run `az login`"),
        ("Azure CLI not found on path", "the Azure CLI is not on the PATH"),
    ],
)
def test_who_cannot_be_signed_in_is_told_what_to_do(monkeypatch, said, told):
    from azure.core.exceptions import ClientAuthenticationError

    def ask(*scopes, options):
        raise ClientAuthenticationError(said)

    monkeypatch.setattr(tokens, "_default_chain", lambda: SimpleNamespace(get_token_info=ask))

    with pytest.raises(NotSignedIn, match=told):
        tokens.Credential().get_token("s")


class Chain:
    """Credentials that give tokens of so many seconds until they fail."""

    def __init__(self, monkeypatch, seconds: float) -> None:
        self.seconds, self.problem, self.asked = seconds, "", 0
        monkeypatch.setattr(tokens, "_default_chain", lambda: self)

    def get_token_info(self, *scopes, options):
        from azure.core.exceptions import ClientAuthenticationError

        self.asked += 1
        if self.problem:
            raise ClientAuthenticationError(self.problem)
        return SimpleNamespace(token=f"a.b.{self.asked}", expires_on=time.time() + self.seconds)


LOST = [
    "AzureCliCredential: HTTPSConnectionPool(host='login.microsoftonline.com'): Failed to resolve",
    "AzureCliCredential: Failed to invoke the Azure CLI\n\tAzureDeveloperCliCredential: Please run 'azd auth login'",
    "EnvironmentCredential: Authentication failed: AADSTS90033: A transient error has occurred. Please try again.",
    "EnvironmentCredential: variables are not fully configured\n\tAzureCliCredential: 503 Service Unavailable",
]


@pytest.mark.parametrize("problem", LOST)
def test_a_token_that_still_lasts_is_used_when_no_new_one_can_be_had(monkeypatch, problem):
    chain = Chain(monkeypatch, seconds=tokens.RENEW_BEFORE_EXPIRY_SECONDS - 100)
    credential = tokens.Credential()
    known = credential.get_token_info("s")
    chain.problem = problem

    assert [credential.get_token_info("s") for _ in range(5)] == [known] * 5
    assert chain.asked == 2, "a renewal that failed is not tried at every call"


@pytest.mark.parametrize("problem", LOST)
def test_a_token_that_cannot_be_had_now_is_asked_for_again(monkeypatch, problem):
    chain = Chain(monkeypatch, seconds=3600)
    chain.problem = problem
    credential = tokens.Credential()

    def ask() -> str:
        if chain.asked == 3:
            chain.problem = ""
        return credential.get_token("s").token

    assert with_retries("x", ask) == "a.b.4"


def test_who_has_no_token_for_long_is_told_what_the_credentials_said(monkeypatch):
    Chain(monkeypatch, seconds=3600).problem = LOST[0]

    with pytest.raises(GaveUp, match="Failed to resolve"):
        with_retries("x", lambda: tokens.Credential().get_token("s"))


def test_a_person_who_signed_out_is_told_once_the_token_is_over(monkeypatch):
    chain = Chain(monkeypatch, seconds=tokens.MINIMUM_SECONDS_LEFT - 1)
    credential = tokens.Credential()
    credential.get_token("s")
    chain.problem = "Please run 'az login' to set up an account"

    with pytest.raises(NotSignedIn):
        credential.get_token("s")
