"""One certificate covers all emulated Azure hosts."""

import ssl

import pytest

from azure_emulator.identity import certificates
from azure_emulator.resource_manager.providers import REGIONS


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("region", REGIONS)
def test_an_endpoint_of_any_region_that_offers_azure_ml_is_trusted(
    made: certificates.Certificates, region: str
) -> None:
    shake_hands(made, f"phi-endpoint.{region}.inference.ml.azure.com")


def test_a_host_that_nobody_imitates_is_not(made: certificates.Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made, "phi-endpoint.nowhere.inference.ml.azure.com")


def shake_hands(made: certificates.Certificates, host: str) -> None:
    """Run a TLS handshake with the host in memory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.chain, made.key)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(there, back, server_side=True)
    trust = ssl.create_default_context(cafile=str(made.authority))
    client = trust.wrap_bio(back, there, server_hostname=host)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version()
