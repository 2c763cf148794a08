"""MLflow's page as `phi review` serves it: to this machine only, and to no other site."""

import httpx
import pytest

from phi_assets.backends.local.chat.review_page import ReviewPage
from phi_assets.backends.local.evaluation.registry import MlflowRegistry

pytestmark = pytest.mark.integration


def test_the_page_answers_this_machine_and_refuses_other_names_and_sites(tmp_path):
    MlflowRegistry(home=str(tmp_path)).migrate()
    page = ReviewPage(tmp_path / "feedback", tmp_path / "mlflow.db", 5190)
    try:
        address = page.start(print)
        assert page.start(print) == address
        with httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
            assert "text/html" in client.get("/").headers["content-type"]
            create, body = "/ajax-api/2.0/mlflow/experiments/create", {"name": "made by another site"}
            assert client.get("/", headers={"host": "evil.example"}).status_code == 403
            for origin in ("https://evil.example", "null"):
                assert client.post(create, json=body, headers={"origin": origin}).status_code == 403
            assert client.post(create, json={"name": "ours"}, headers={"origin": address}).status_code == 200
    finally:
        page.stop()
    with pytest.raises(httpx.TransportError):
        httpx.get(address, trust_env=False)
