"""Azure's prices in US dollars: pay as you go, Linux, East US 2. For estimates only: the invoice is Azure's.

Noted on the date below as commonly published, and **not compared with Azure's price list**, which could not be
reached: compare the row of your machine with SOURCE before you rely on a ceiling. Other regions are assumed to cost the
same; they differ by up to a quarter.
"""

from dataclasses import dataclass

AS_OF = "noted 2026-11-24, not compared with Azure's list"
SOURCE = "https://azure.microsoft.com/pricing/calculator"
DATED = f"US dollars, {AS_OF}; {SOURCE}"


@dataclass(frozen=True)
class Machine:
    """A size of virtual machine: its vCPUs, its quota family in Azure ML, and its price."""

    vcpus: int
    family: str
    dollars_an_hour: float
    device: str
    memory_gb: int

    @property
    def gpus(self) -> int:
        """Return the number of GPUs."""
        return 0 if self.device == "cpu" else int(self.device.split()[0])

    @property
    def training_bytes(self) -> int:
        """Return the memory that one training can have: of one GPU, or of the machine where there is none."""
        return (int(self.device.split()[-2]) if self.gpus else self.memory_gb) * 2**30


A100, E, DS = "Standard NCADSA100v4 Family", "Standard ESv3 Family", "Standard DSv3 Family"
MACHINES: dict[str, Machine] = {
    "Standard_NC24ads_A100_v4": Machine(24, A100, 3.673, "1 x A100 80 GB", 220),
    "Standard_NC48ads_A100_v4": Machine(48, A100, 7.346, "2 x A100 80 GB", 440),
    "Standard_NC96ads_A100_v4": Machine(96, A100, 14.692, "4 x A100 80 GB", 880),
    "Standard_E4s_v3": Machine(4, E, 0.252, "cpu", 32),
    "Standard_E8s_v3": Machine(8, E, 0.504, "cpu", 64),
    "Standard_E16s_v3": Machine(16, E, 1.008, "cpu", 128),
    "Standard_DS3_v2": Machine(4, "Standard DSv2 Family", 0.229, "cpu", 14),
    "Standard_D4s_v3": Machine(4, DS, 0.192, "cpu", 16),
}


class UnknownSize(ValueError):
    """A VM size that is not in the table."""


def machine(vm_size: str) -> Machine:
    """The size's row. Raises UnknownSize, which lists the known sizes."""
    found = {name.lower(): row for name, row in MACHINES.items()}.get(vm_size.lower())
    if found is None:
        raise UnknownSize(f"the price table has no row for {vm_size}; it has: {', '.join(MACHINES)}")
    return found


def is_known(vm_size: str) -> bool:
    return vm_size.lower() in (name.lower() for name in MACHINES)


def price_per_hour(vm_size: str, location: str) -> float:
    """US dollars an hour of one node. Raises UnknownSize."""
    del location  # the table has one region; the parameter is for a table with more
    return machine(vm_size).dollars_an_hour


def ceiling_seconds(max_cost: float, price: float) -> int:
    """Whole seconds that `max_cost` dollars pay for at `price` dollars an hour."""
    return int(max_cost / price * 3600)


# The cost of a resource in a month without use, and what adds to it.
MONTHLY: dict[str, tuple[float, str]] = {
    "resource_group": (0.0, "free"),
    "storage_account": (0.0, "0.02 a GB and month, by use"),
    "key_vault": (0.0, "0.03 per 10,000 operations"),
    "application_insights": (0.0, "2.76 a GB of logs; the first 5 GB a month are free"),
    "container_registry": (5.0, "0.167 a day, Basic, 10 GB included"),
    "managed_identity": (0.0, "free"),
    "chat_database": (0.0, "serverless: 0.25 a million request units, 0.25 a GB and month"),
    "chat_environment": (0.0, "no replica when idle; 0.000024 a vCPU and 0.000003 a GB a second; logs 2.76 a GB"),
    "chat_identity": (0.0, "free"),
    "role_assignments": (0.0, "free"),
    "ml_workspace": (0.0, "free; its resources are counted on their own"),
    "training_compute": (0.0, "nothing while it has no node"),
}
