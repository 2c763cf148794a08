"""The VM sizes of the emulated Azure ML, with quota family and vCPUs, from Azure's size reference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VmSize:
    name: str
    family: str
    family_title: str
    vcpus: int
    memory_gb: float
    gpus: int = 0

    def counts_as(self, quota: str) -> bool:
        """Return whether the size uses the quota: its family's, or the region's total."""
        return quota.lower() in (self.family.lower(), TOTAL.lower())


_A100 = ("standardNCADSA100v4Family", "Standard NCADSA100v4 Family Cluster Dedicated vCPUs")
_ESV3 = ("standardESv3Family", "Standard ESv3 Family Cluster Dedicated vCPUs")
_DSV3 = ("standardDSv3Family", "Standard DSv3 Family Cluster Dedicated vCPUs")

VM_SIZES = (
    VmSize("Standard_NC24ads_A100_v4", *_A100, 24, 220, 1),
    VmSize("Standard_NC48ads_A100_v4", *_A100, 48, 440, 2),
    VmSize("Standard_NC96ads_A100_v4", *_A100, 96, 880, 4),
    VmSize("Standard_E4s_v3", *_ESV3, 4, 32),
    VmSize("Standard_E16s_v3", *_ESV3, 16, 128),
    VmSize("Standard_DS3_v2", "standardDSv2Family", "Standard DSv2 Family Cluster Dedicated vCPUs", 4, 14),
    VmSize("Standard_D4s_v3", *_DSV3, 4, 16),
)
FAMILIES = {size.family: size.family_title for size in VM_SIZES}
TOTAL = "TotalDedicatedCores"
TITLES = {**FAMILIES, TOTAL: "Total Cluster Dedicated Regional vCPUs"}


def find(name: str) -> VmSize | None:
    return next((size for size in VM_SIZES if size.name.lower() == name.lower()), None)
