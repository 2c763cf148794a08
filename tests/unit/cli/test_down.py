"""`phi down`: what is here ends first, and a cloud that does not answer is a line."""

import pytest

from phi_assets.cli import ask, down
from phi_assets.endpoint_client import NoAnswer
from phi_assets.errors import BackendError
from phi_assets.instance import server
from phi_assets.records import Deployment
from phi_assets.settings import read


class Host:
    remedy = "look at the portal"

    def __init__(self, order: list[str]) -> None:
        self.order = order

    def stop(self, log) -> None:
        self.order.append("host")
        raise BackendError(description="your sign-in has expired")

    def status(self) -> dict[str, object]:
        return {"alive": True, "address": "https://e"}

    def key(self) -> str:
        return "k"


def test_the_interface_ends_first_and_a_cloud_that_refuses_is_one_line(monkeypatch, capsys, tmp_path):
    order: list[str] = []
    monkeypatch.setattr(down, "build_resources", lambda _: {"endpoint_host": Host(order)})
    monkeypatch.setattr(server, "stop", lambda _: order.append("interface") or ["daemon (17)"])

    assert down.down(read({"PHI_HOME": str(tmp_path)})) == 1

    assert order == ["interface", "host"]
    said = capsys.readouterr()
    assert "ended: daemon (17)" in said.out
    assert [line for line in said.out.splitlines() if "your sign-in has expired" in line]


def test_who_cannot_be_asked_is_mended_as_its_backend_says(monkeypatch, tmp_path):
    class Records:
        def latest(self, key: object) -> Deployment:
            return Deployment(
                digest="d",
                endpoint="e",
                name="n",
                model_name="m",
                model_version="1",
                model_digest="d",
                dataset_digest="d",
                training_run="r",
            )

    def silent(*_: object, **__: object) -> None:
        raise NoAnswer("https://e answered 503: gone")

    monkeypatch.setattr(ask, "build_resources", lambda _: {"io_manager": Records(), "endpoint_host": Host([])})
    monkeypatch.setattr(ask, "chat", silent)
    with pytest.raises(ask.NothingDeployed, match="503: gone; look at the portal"):
        ask.ask_deployed(read({"PHI_HOME": str(tmp_path)}), "Hello")
