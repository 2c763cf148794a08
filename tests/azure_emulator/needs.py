"""What tests on the local Azure need of the machine: where it is not there, they are skipped and say why."""

import pytest

from tests.azure_emulator import azurite, schemas
from tests.infra import bicep

needs_schemas = pytest.mark.skipif(
    not schemas.FOLDER.is_dir(), reason="Microsoft's schemas are not beside the project (shared/specs/arm)"
)


def azurite_or_skip() -> None:
    if not azurite.PROGRAM.exists():
        pytest.skip("the local Azure needs Azurite: npm ci --prefix tests/azure_emulator")


def compiler_or_skip() -> None:
    """For deployments under other names than those of the committed evaluations."""
    if bicep.compiler() is None:
        pytest.skip("deployments under names of a test's own need the Bicep compiler: az bicep install")
