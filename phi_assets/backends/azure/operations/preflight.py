"""Checks the subscription before anything is created in it, and reports problems with their remedies."""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from phi_assets.backends.azure.client.azure_errors import cause_of, refused
from phi_assets.backends.azure.client.clients import AzureClients, clients
from phi_assets.backends.azure.infrastructure import prices
from phi_assets.backends.azure.infrastructure.quota import AzureQuota
from phi_assets.backends.azure.operations import preflight_account, preflight_names, retirements
from phi_assets.backends.azure.operations.preflight_account import (
    NotChecked,
    Registrations,
    Rights,
    apart,
    require_registered,
    without,
)
from phi_assets.errors import BackendError
from phi_assets.ports.base import Log
from phi_assets.ports.operations import Diagnosis, Preflight

HOURS_A_MONTH = 730
UNKNOWN_REMEDY = "see https://aka.ms/arm-common-errors and https://azure.status.microsoft, fix it, and check again"
NAMED = (*preflight_names.CHECKED, "chat_database")
APP_REGISTRATION = (
    "To have one: `az ad app create --display-name phi-chat --sign-in-audience AzureADMyOrg --enable-id-token-issuance "
    "true`, `az ad sp create --id <appId>` and `az ad sp update --id <appId> --set appRoleAssignmentRequired=true`; "
    "docs/how-to/chat.md has the rest"
)


@dataclass
class SharedResults:
    """Results of one check that later checks use."""

    rights: Rights | None = None
    registered: Registrations | None = None


class AzurePreflight(Preflight):
    """Every check only reads: nothing is registered, created or changed."""

    account: dict[str, str]
    vm_size: str
    endpoint_vm_size: str
    endpoint_instances: int
    base_model: str
    quota: dict[str, Any]  # the fields of AzureQuota, because nested Dagster resources need extra configuration
    monthly_budget: float | None
    chat_client_id: str | None = None

    def diagnose(self, log: Log) -> list[Diagnosis]:
        of, seen = clients(self.account), SharedResults()
        found = _guarded("credential", lambda: [preflight_account.credential(of, log)])
        if _well(found):
            found += _guarded("subscription", lambda: [preflight_account.subscription(of, log)])
        readable, last = _well(found), found[-1].subject
        for subject, check in self._checks(of, seen, log).items():
            # Without a readable subscription each of these would only repeat that problem.
            unseen = Diagnosis(subject, "unseen", "not checked", f"fix the {last} first, and check again")
            found += _guarded(subject, check) if readable else [unseen]
        return [*found, *self._chat(), *_guarded("retirements", self._retirements), *_guarded("budget", self._budget)]

    def _checks(self, of: AzureClients, seen: SharedResults, log: Log) -> Mapping[str, Callable[[], list[Diagnosis]]]:
        def roles() -> list[Diagnosis]:
            seen.rights = preflight_account.rights(of, log)
            return preflight_account.roles(of, seen.rights)

        def providers() -> list[Diagnosis]:
            seen.registered = preflight_account.registrations(of, log, with_chat=bool(self.chat_client_id))
            return preflight_account.providers(seen.registered, seen.rights)

        def sizes() -> list[Diagnosis]:
            require_registered(seen.registered, preflight_account.MACHINE_LEARNING)
            wanted = {"PHI_AZURE_VM_SIZE": self.vm_size, "PHI_AZURE_ENDPOINT_VM_SIZE": self.endpoint_vm_size}
            return preflight_account.sizes(of, wanted, log)

        def quota() -> list[Diagnosis]:
            require_registered(seen.registered, preflight_account.MACHINE_LEARNING)
            return self._quota(log)

        def names() -> list[Diagnosis]:
            each = [_guarded("names", lambda: preflight_names.group(of, seen.registered))]
            each += [
                _guarded("names", lambda asset=asset: [preflight_names.global_name(of, asset, seen.registered, log)])
                for asset in (NAMED if self.chat_client_id else preflight_names.CHECKED)
            ]
            return [diagnosis for found in each for diagnosis in found]

        return {
            "roles": roles,
            "providers": providers,
            "region": lambda: [preflight_account.region(of, log)],
            "sizes": sizes,
            "quota": quota,
            "names": names,
        }

    def _quota(self, log: Log) -> list[Diagnosis]:
        port = AzureQuota(**self.quota)
        judged = port.judge(port.measure(log))
        return [
            Diagnosis(
                "quota",
                "ok" if finding.passed else "problem",
                without(finding.description, finding.remedy),
                finding.remedy,
            )
            for finding in judged.values()
        ]

    def _chat(self) -> list[Diagnosis]:
        if self.chat_client_id:
            return [Diagnosis("chat", "ok", f"people sign in by the app registration {self.chat_client_id}")]
        return [
            Diagnosis("chat", "ok", f"the graph has no chat: PHI_AZURE_CHAT_CLIENT_ID is not set. {APP_REGISTRATION}")
        ]

    def _retirements(self) -> list[Diagnosis]:
        uses = retirements.uses(self.vm_size, self.endpoint_vm_size, self.base_model)
        return retirements.found(uses, dt.date.today())

    def _budget(self) -> list[Diagnosis]:
        of = clients(self.account).account
        machine = prices.price_per_hour(self.endpoint_vm_size, of.location) * self.endpoint_instances
        month = sum(dollars for dollars, _ in prices.MONTHLY.values()) + machine * HOURS_A_MONTH
        described = (
            f"a month with the endpoint up costs about {month:.0f} dollars, jobs not counted "
            f"({self.endpoint_instances} x {self.endpoint_vm_size}; prices {prices.AS_OF})"
        )
        if self.monthly_budget is None:
            return [Diagnosis("budget", "ok", f"{described}; PHI_AZURE_MONTHLY_BUDGET is not set")]
        if month > self.monthly_budget:
            remedy = "raise it, delete the endpoint while it is not used (phi teardown), or choose a smaller machine"
            return [Diagnosis("budget", "warning", f"{described}; the budget is {self.monthly_budget:g}", remedy)]
        return [Diagnosis("budget", "ok", f"{described}; the budget is {self.monthly_budget:g}")]


def _guarded(subject: str, check: Callable[[], list[Diagnosis]]) -> list[Diagnosis]:
    """The diagnoses of a check; a check that raises becomes a diagnosis with the error's remedy."""
    from azure.core.exceptions import AzureError

    try:
        return check()
    except NotChecked as e:
        return [Diagnosis(subject, "unseen", str(e), e.remedy)]
    except BackendError as e:
        return [_failed(subject, e)]
    except prices.UnknownSize as e:
        return [Diagnosis(subject, "problem", str(e), "choose one of those, or add its row to prices.py")]
    except AzureError as e:
        return [_failed(subject, refused(f"checking the {subject}", cause_of(e)))]


def _failed(subject: str, error: BackendError) -> Diagnosis:
    return Diagnosis(subject, "problem", apart(error), error.remedy or UNKNOWN_REMEDY)


def _well(found: Iterable[Diagnosis]) -> bool:
    return all(diagnosis.verdict != "problem" for diagnosis in found)
