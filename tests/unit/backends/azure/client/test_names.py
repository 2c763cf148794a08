"""The template's names, computed without a call to Azure."""

import json
import tempfile
from pathlib import Path

import pytest

from azure_emulator.bicep import compiler
from phi_assets.backends.azure.client import names


def test_the_names_are_those_of_microsofts_engine():
    """Names of every length modulo eight, since the hash takes eight bytes at a time."""
    if compiler.compiler() is None:
        pytest.skip("there is no Bicep compiler")
    words = ["x" * length for length in range(1, 18)]
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            {
                "type": "Microsoft.Resources/resourceGroups",
                "apiVersion": "2025-04-01",
                "name": f"[uniqueString('{word}')]",
                "location": "eastus2",
            }
            for word in words
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "main.json")
        path.write_text(json.dumps(template))
        found = compiler.snapshot(path, {}, "00000000-0000-0000-0000-0000000000aa", "eastus2")

    assert {row["name"] for row in found["predictedResources"]} == {names.unique_string(word) for word in words}
