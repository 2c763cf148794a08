"""The Azure services around Azure ML: what each adds to a resource that is put."""

from tests.azure_emulator.kinds import Kind
from tests.azure_emulator.machine_learning import resources as machine_learning
from tests.azure_emulator.services import cosmos, foundation, roles, storage

KINDS: dict[str, Kind] = {
    kind.type.lower(): kind
    for kind in (*foundation.KINDS, *storage.KINDS, *cosmos.KINDS, *roles.KINDS, *machine_learning.KINDS)
}
