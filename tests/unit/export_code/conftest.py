"""Tiny models in the shapes of the published Phis, prepared as for training."""

import json
from pathlib import Path

import pytest

from export_code.splitting import O200K
from phi_assets.base_models.prepare_model import prepare_model
from tests.support.phi_shapes import SHAPES, make_phi

FIRST_STEPS = {
    "phi4-mini, gpt-4o": {"type": "Split", "pattern": {"Regex": O200K}, "behavior": "Isolated", "invert": False},
    "phi4-mini, smollm": {"type": "Digits", "individual_digits": True},
}
MODELS = (*SHAPES, *FIRST_STEPS)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each of MODELS; tests do not change them."""
    root = tmp_path_factory.mktemp("shapes")
    for shape in SHAPES:
        prepare_model(make_phi(root / "published" / shape, shape), root / shape)
    for name, first in FIRST_STEPS.items():
        prepare_model(root / "published" / "phi4-mini", root / name)
        tokenizer = json.loads((root / name / "tokenizer.json").read_text(encoding="utf-8"))
        last = {**tokenizer["pre_tokenizer"], "use_regex": first["type"] != "Split"}
        tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [first, last]}
        (root / name / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return root
