"""`phi down`: what is here ends first, and a cloud that does not answer is a line."""

from phi_assets.cli import down
from phi_assets.errors import BackendError
from phi_assets.instance import server
from phi_assets.settings import read


class Host:
    def __init__(self, order: list[str]) -> None:
        self.order = order

    def stop(self, log) -> None:
        self.order.append("host")
        raise BackendError(description="your sign-in has expired")


def test_the_interface_ends_first_and_a_cloud_that_refuses_is_one_line(monkeypatch, capsys, tmp_path):
    order: list[str] = []
    monkeypatch.setattr(down, "build_resources", lambda _: {"endpoint_host": Host(order)})
    monkeypatch.setattr(server, "stop", lambda _: order.append("interface") or ["daemon (17)"])

    assert down.down(read({"PHI_HOME": str(tmp_path)})) == 1

    assert order == ["interface", "host"]
    said = capsys.readouterr()
    assert "ended: daemon (17)" in said.out
    assert [line for line in said.out.splitlines() if "your sign-in has expired" in line]
