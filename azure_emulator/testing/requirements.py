"""Requirements of the tests; a test is skipped with a reason if one is missing."""

import pytest

from azure_emulator.bicep import compiler
from azure_emulator.blob_storage import azurite
from azure_emulator.resource_manager import schemas

needs_schemas = pytest.mark.skipif(
    not schemas.FOLDER.is_dir(), reason="Microsoft's schemas are not beside the project (shared/specs/arm)"
)


def azurite_or_skip() -> None:
    if not azurite.PROGRAM.exists():
        pytest.skip("the local Azure needs Azurite: npm ci --prefix azure_emulator")


def compiler_or_skip() -> None:
    """For deployments under other names than those of the committed evaluations."""
    if compiler.compiler() is None:
        pytest.skip("deployments under names of a test's own need the Bicep compiler: az bicep install")
