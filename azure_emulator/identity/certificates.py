"""A throw-away certificate authority, and one server certificate for all emulated Azure hosts."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from azure_emulator.resource_manager.providers import REGIONS

# A wildcard covers one label only, so hosts with two variable labels need one entry per region.
HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "login.microsoft.com",
    "ml.azure.com",
    "*.blob.core.windows.net",
    "*.dfs.core.windows.net",
    "*.vault.azure.net",
    "*.azurecr.io",
    "*.documents.azure.com",
    "*.api.azureml.ms",
    *(f"*.workspace.{region}.api.azureml.ms" for region in REGIONS),
    *(f"*.local.{region}.azurecontainerapps.io" for region in REGIONS),
    *(f"*.{region}.inference.ml.azure.com" for region in REGIONS),
)


@dataclass(frozen=True)
class Certificates:
    """Paths of the authority that clients trust, and of the servers' certificate chain and key."""

    authority: Path
    chain: Path
    key: Path


def make(folder: Path, days: int = 30) -> Certificates:
    """Write a new authority and certificate to `folder`; only the owner can read the key."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    server_key = ec.generate_private_key(ec.SECP256R1())
    authority = (
        _builder("Local Azure, for tests only", "Local Azure, for tests only", authority_key, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage_of_authority(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName(host) for host in (*HOSTS, "localhost")]
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    server = (
        _builder("Local Azure", "Local Azure, for tests only", server_key, days)
        .add_extension(x509.SubjectAlternativeName([*names, loopback]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    authority_pem = authority.public_bytes(serialization.Encoding.PEM)
    paths.key.touch(mode=0o600)
    paths.key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    paths.chain.write_bytes(server.public_bytes(serialization.Encoding.PEM) + authority_pem)
    paths.authority.write_bytes(authority_pem)
    return paths


def _builder(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _key_usage_of_authority() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
