"""The generated reference pages have everything that the code has, and links between them lead somewhere."""

import json

import pytest

from docs_generator import architecture, asset_graph, commands, http_routes, ports
from phi_assets.cli.main import phi
from phi_assets.project import PROJECT
from tests.support.graph_facts import BACKENDS

SNAPSHOTS = {"local": "asset_graph.json", "azure": "asset_graph_azure.json"}


@pytest.fixture(scope="module")
def graphs():
    return {backend: asset_graph.definitions_of(backend) for backend in BACKENDS}


@pytest.fixture(scope="module")
def ports_page():
    return ports.ports_page()


def test_the_commands_page_has_the_help_of_every_command():
    page = commands.commands_page()

    assert [name for name, command in phi.commands.items() if f"\n## phi {name}\n" not in page] == []
    assert "Usage: phi ask" in page
    assert "--base" in page


def test_the_assets_page_has_the_graph_of_the_snapshots(graphs):
    page = asset_graph.page_of(graphs)
    for backend, file in SNAPSHOTS.items():
        assets = json.loads((PROJECT / "tests/unit" / file).read_text(encoding="utf-8"))["assets"]
        assert set(graphs[backend]["assets"]) == set(assets)
        for name, asset in assets.items():
            assert f"\n### {name}\n\n{asset['description']}\n" in page
            assert all(f"| `{check}` |" in page for check in asset["checks"])


def test_every_check_job_and_sensor_is_described(graphs):
    for graph in graphs.values():
        checks = {
            (name, check): found for name, asset in graph["assets"].items() for check, found in asset["checks"].items()
        }
        assert [key for key, found in checks.items() if not found["description"]] == []
        for kind in ("jobs", "sensors", "schedules"):
            assert [name for name, text in graph[kind].items() if not text] == []


def test_a_blocking_check_is_called_blocking(graphs):
    page = asset_graph.page_of(graphs)

    assert "| `enough_quota` | blocking |" in page
    assert "| `serves_the_champion` | warns |" in page


def test_the_ports_page_has_every_port_with_both_implementations(ports_page):
    section = ports_page.split("### EndpointHost")[1].split("### ")[0]

    assert "phi_assets/backends/azure/" in section
    assert "phi_assets/backends/local/" in section
    arguments = "model: records.RegisteredModel, log: Log, optimized: records.OptimizedModel | None=None"
    assert f"deploy({arguments}) -> records.Deployment  # abstract" in section


def test_the_http_page_has_every_route_field_and_refusal_of_the_server():
    from serving_code.openai_request import ChatBody
    from serving_code.score_api import Params

    page = http_routes.http_page()

    assert "| `POST /score` | yes |" in page
    assert "| `GET /livez` | no |" in page
    assert all(f"| `{name}` |" in page for name in (*Params.model_fields, *ChatBody.model_fields))
    assert "| `temperature` | number, at least 0, at most 2 |" in page
    assert "`too_many_requests`" in page
    assert {401, 404, 413, 422, 429, 500, 503} <= {status for status, _ in http_routes.refusals()} | {404}


def test_the_picture_of_the_architecture_is_the_drawn_one_and_names_what_exists(graphs, ports_page):
    """Run `python -m docs_generator.architecture` after a change of the drawing."""
    assert architecture.TARGET.read_text(encoding="utf-8") == architecture.picture()
    drawn = {name: stage.name for stage in architecture.STAGES for name in stage.assets}
    assert {name: graphs["local"]["assets"][name]["group"] for name in drawn} == drawn
    assert all(f"### {port}\n" in ports_page for stage in architecture.STAGES for port in stage.ports)
