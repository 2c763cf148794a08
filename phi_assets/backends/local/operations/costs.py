"""The cost report of a laptop, on which nothing is rented."""

from phi_assets.ports.base import Log
from phi_assets.ports.operations import Bill, CostReport

NOTHING_TO_PAY = "nothing to pay: PHI_BACKEND=local runs on this machine and rents none"


class LocalCosts(CostReport):
    """Reports that there is nothing to pay."""

    note: str = NOTHING_TO_PAY  # Dagster warns of a resource without fields

    def measure(self, log: Log) -> Bill:
        del log
        return Bill(standing=(), jobs=(), spent_this_month=0.0, budget=None, notes=(self.note,), portal="")
