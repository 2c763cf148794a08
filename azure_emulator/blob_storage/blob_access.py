"""Authorizes requests to Blob storage by token, account key or signature, as Azure does."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from azure_emulator.blob_storage import sas, shared_key
from azure_emulator.blob_storage.blob_account import AccountKeys, StorageAccount
from azure_emulator.blob_storage.blob_operations import Operation, Target
from azure_emulator.identity.identities import TENANT
from azure_emulator.jobs.contract import Allows

AUDIENCE = "https://storage.azure.com"
_SIGNATURE_FIELDS = frozenset((*sas.KEY_FIELDS, *sas.SIGNED_FIELDS))


@dataclass(frozen=True)
class Caller:
    """An authorized caller, for the request log, and the query without its signature."""

    name: str
    oid: str | None
    query: str


@dataclass
class Refused(Exception):
    """An error response in Blob storage's XML."""

    status: int
    code: str
    message: str
    more_headers: dict[str, str] = field(default_factory=dict)
    identity: str = ""
    detail: str = ""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def body(self) -> bytes:
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        text = escape(f"{self.message}\nRequestId:{self.id}\nTime:{now}")
        detail = f"<AuthenticationErrorDetail>{escape(self.detail)}</AuthenticationErrorDetail>" if self.detail else ""
        error = f"<Error><Code>{self.code}</Code><Message>{text}</Message>{detail}</Error>"
        return f'<?xml version="1.0" encoding="utf-8"?>{error}'.encode()

    def headers(self) -> dict[str, str]:
        own = {"content-type": "application/xml", "x-ms-error-code": self.code, "x-ms-request-id": self.id}
        return own | self.more_headers


class Access:
    """Authorizes requests. The object id `platform` needs no role."""

    def __init__(self, keys: AccountKeys, allows: Allows, read_token: Callable[[str, str], Any], platform: str) -> None:
        self._keys = keys
        self._allows = allows
        self._read_token = read_token
        self._platform = platform

    def authorize(
        self,
        account: StorageAccount,
        name: str,
        method: str,
        raw_path: str,
        target: Target,
        operation: Operation,
        query: Mapping[str, str],
        headers: Mapping[str, str],
    ) -> Caller:
        """Return the caller if the operation is allowed. Raises Refused."""
        given = headers.get("authorization", "")
        left = urlencode(
            [(key, value) for key, value in query.items() if key not in _SIGNATURE_FIELDS], quote_via=quote
        )
        if given.startswith("Bearer "):
            oid = self._oid(given.removeprefix("Bearer "))
            self._need_role(oid, account, target, operation, oid)
            return Caller(oid, oid, left)
        if given.startswith("SharedKey "):
            self._need_keys(account, "shared-key")
            if operation.name == "GetUserDelegationKey":
                raise Refused(403, "AuthenticationFailed", _FAILED, identity="shared-key")
            if not shared_key.is_signed_by(self._keys.of(name), name, method, raw_path, query, headers):
                raise Refused(403, "AuthenticationFailed", _FAILED, identity="shared-key")
            return Caller("shared-key", None, left)
        if "sig" in query:
            return self._authorize_signature(account, name, target, operation, query, left)
        raise Refused(401, "NoAuthenticationInformation", _NO_ONE, CHALLENGE)

    def _authorize_signature(
        self,
        account: StorageAccount,
        name: str,
        target: Target,
        operation: Operation,
        query: Mapping[str, str],
        left: str,
    ) -> Caller:
        oid = query.get("skoid")
        who = f"sas:{oid or 'shared-key'}"
        if not oid:
            self._need_keys(account, who)
        try:
            found = sas.check(name, target.container, target.blob, query, self._keys.of(name), self._keys.secret)
        except sas.SignatureRefused as e:
            if e.code != "AuthenticationFailed":
                raise Refused(403, e.code, str(e), identity=who) from e
            raise Refused(403, e.code, _FAILED, identity=who, detail=str(e)) from e
        if found.resource_types:
            wanted = "o" if target.blob else "c" if target.container else "s"
            fits = wanted in found.resource_types
        else:
            # A signature on a container covers its blobs and listing them, never the container itself.
            fits = bool(target.blob) or (operation.name == "ListBlobs" and found.blob is None)
        if not fits:
            message = "This request is not authorized to perform this operation using this resource type."
            raise Refused(403, "AuthorizationResourceTypeMismatch", message, identity=who)
        if not set(found.letters) & set(operation.letters):
            raise Refused(403, "AuthorizationPermissionMismatch", _MISMATCH, identity=who)
        if oid:
            self._need_role(oid, account, target, operation, who)
        return Caller(who, oid, left)

    def _oid(self, token: str) -> str:
        try:
            return self._read_token(token, AUDIENCE).oid
        except ValueError as e:
            raise Refused(401, "InvalidAuthenticationInfo", _NO_ONE, CHALLENGE, detail=str(e)) from e

    def _need_role(self, oid: str, account: StorageAccount, target: Target, operation: Operation, who: str) -> None:
        scope = account.scope
        if target.container:
            scope += f"/blobServices/default/containers/{target.container}"
        if oid != self._platform and not any(
            self._allows(oid, action, scope, operation.on_data) for action in operation.actions
        ):
            raise Refused(403, "AuthorizationPermissionMismatch", _MISMATCH, identity=who)

    def _need_keys(self, account: StorageAccount, who: str) -> None:
        if not account.shared_keys:
            message = "Key based authentication is not permitted on this storage account."
            raise Refused(403, "KeyBasedAuthenticationNotPermitted", message, identity=who)


_MISMATCH = "This request is not authorized to perform this operation using this permission."
_FAILED = (
    "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly "
    "including the signature."
)
_NO_ONE = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header."
CHALLENGE = {
    "www-authenticate": f"Bearer authorization_uri=https://login.microsoftonline.com/{TENANT}/oauth2/authorize "
    f"resource_id={AUDIENCE}"
}
