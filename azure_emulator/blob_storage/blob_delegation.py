"""User delegation keys: the response of `Get User Delegation Key`."""

from __future__ import annotations

from xml.etree import ElementTree

from azure_emulator.blob_storage import sas
from azure_emulator.blob_storage.blob_access import Caller, Refused
from azure_emulator.identity.identities import TENANT


def delegation_key_answer(secret: bytes, account: str, caller: Caller, body: bytes) -> bytes:
    """Return the XML of a key of the caller, valid for the period in the body. Raises Refused."""
    try:
        asked = {element.tag: element.text or "" for element in ElementTree.fromstring(body)}
    except ElementTree.ParseError as e:
        message = "The XML specified is not syntactically valid."
        raise Refused(400, "InvalidXmlDocument", message, identity=caller.name) from e
    fields = dict(
        zip(
            sas.KEY_FIELDS,
            (caller.oid or "", TENANT, asked.get("Start", ""), asked.get("Expiry", ""), "b", sas.OWN_VERSION),
            strict=True,
        )
    )
    answer = ElementTree.Element("UserDelegationKey")
    names = ("SignedOid", "SignedTid", "SignedStart", "SignedExpiry", "SignedService", "SignedVersion")
    for name, value in zip(names, fields.values(), strict=True):
        ElementTree.SubElement(answer, name).text = value
    ElementTree.SubElement(answer, "Value").text = sas.delegation_key(secret, account, fields)
    return ElementTree.tostring(answer, encoding="utf-8", xml_declaration=True)
