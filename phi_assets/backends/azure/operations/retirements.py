"""Compares a dated table of Azure's past and announced retirements with what the settings and our images use.

Noted on AS_OF from Microsoft's pages and threads; rows whose source is only the list of notices were not verified line
by line.
"""

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from phi_assets.ports.operations import Diagnosis
from phi_assets.project import PROJECT
from phi_assets.prompt_flow import retirement

AS_OF = dt.date(2026, 11, 24)
NOTICES = "https://learn.microsoft.com/azure/virtual-machines/retirement-notices"
GUIDES = "https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/virtual-machines"
IMAGES = ("training_code/environment/Dockerfile", "serving_code/environment/Dockerfile")
PROMPT_FLOW = PROJECT / "requirements" / "lock-promptflow.txt"


@dataclass(frozen=True)
class Retirement:
    """One retirement: `matches` is a regular expression for the full name. `stops`: uses fail from that day on."""

    what: str
    matches: str
    on: dt.date
    source: str
    instead: str
    stops: bool = True


@dataclass(frozen=True)
class Use:
    """A name that the graph uses, and the setting or file that contains it."""

    where: str
    name: str


TABLE = (
    Retirement(
        "VM sizes NCv3 (V100)",
        r"Standard_NC(6|12|24|24r)s_v3",
        dt.date(2025, 9, 30),
        f"{GUIDES}/ncv3-nc6s-nc12s-nc24s-retirement.md",
        "Standard_NC24ads_A100_v4",
    ),
    Retirement(
        "VM sizes NC, NCv2 and ND (K80, P100, P40)",
        r"Standard_(NC(6|12|24|24r)(s_v2)?|NC24rs_v2|ND(6|12|24|24r)s)",
        dt.date(2023, 9, 6),
        NOTICES,
        "Standard_NC24ads_A100_v4",
    ),
    Retirement(
        "VM sizes NV (M60)",
        r"Standard_NV(6|12|24)(_Promo)?",
        dt.date(2023, 9, 6),
        f"{GUIDES}/sizes/migration-guides/nv-series-retirement.md",
        "Standard_NC24ads_A100_v4",
    ),
    Retirement(
        "VM sizes Dv2 and DSv2",
        r"Standard_DS?\d+(-\d+)?_v2",
        dt.date(2028, 5, 1),
        NOTICES,
        "Standard_D4s_v3, Standard_E4s_v3",
    ),
    Retirement(
        "VM sizes Av2, Bv1, F, Fs, Fsv2, G, Gs, Lsv2",
        r"Standard_(A\d+m?_v2|B\d+m?s|F\d+s?(_v2)?|GS?\d+|L\d+s_v2)",
        dt.date(2028, 11, 15),
        NOTICES,
        "Standard_D4s_v3, Standard_E4s_v3",
    ),
    Retirement(
        "Phi-3 and Phi-3.5 in Azure ML's model catalogue",
        r"(hf:microsoft/|azureml://registries/azureml/models/)Phi-3.*",
        dt.date(2025, 8, 30),
        "https://learn.microsoft.com/azure/ai-foundry/concepts/model-lifecycle-retirement",
        "hf:microsoft/Phi-4-mini-instruct with PHI_PRESET=phi4-mini-lora; Phi-3.5's weights stay on the Hugging Face "
        "hub under the MIT licence, and are taken from there",
        stops=False,
    ),
    Retirement(
        "images on Ubuntu 20.04",
        r".*ubuntu-?20\.04.*",
        dt.date(2025, 5, 31),
        "https://ubuntu.com/about/release-cycle",
        "mcr.microsoft.com/azureml/openmpi5.0-ubuntu24.04",
        stops=False,
    ),
    Retirement(
        "Azure ML SDK v1",
        r"azureml-(core|sdk|pipeline.*|train.*|defaults)",
        dt.date(2026, 6, 30),
        "https://learn.microsoft.com/azure/machine-learning/concept-v2",
        "azure-ai-ml",
        stops=False,
    ),
    Retirement(
        "Prompt flow",
        r"promptflow(\[.*\])?",
        retirement.ON,
        retirement.SOURCE,
        retirement.INSTEAD,
        stops=False,
    ),
)


def found(uses: Iterable[Use], today: dt.date) -> list[Diagnosis]:
    """A diagnosis for each use of something retired or to be retired; one positive diagnosis when there is none."""
    diagnoses = [
        _diagnosis(use, row, today) for use in uses for row in TABLE if re.fullmatch(row.matches, use.name, re.I)
    ]
    return diagnoses or [Diagnosis("retirements", "ok", f"nothing in use is retired or announced to be ({AS_OF})")]


def uses(vm_size: str, endpoint_vm_size: str, base_model: str) -> list[Use]:
    """The names in the settings, our base images, and the packages that we install."""
    settings = (
        ("PHI_AZURE_VM_SIZE", vm_size),
        ("PHI_AZURE_ENDPOINT_VM_SIZE", endpoint_vm_size),
        ("PHI_BASE_MODEL", base_model.partition("@")[0]),
    )
    return [
        *(Use(where, name) for where, name in settings),
        *(Use(path, image) for path in IMAGES for image in _images(PROJECT / path)),
        *(Use("phi-assets", _name(line)) for line in metadata.requires("phi-assets") or ()),
        *(Use("requirements/lock-promptflow.txt", name) for name in _names(PROMPT_FLOW)),
        *(Use(f"{Path(path).parent}/requirements.txt", name) for path in IMAGES for name in _required(PROJECT / path)),
    ]


def _diagnosis(use: Use, row: Retirement, today: dt.date) -> Diagnosis:
    over = row.on <= today
    when = f"retired on {row.on}" if over else f"to be retired on {row.on}"
    return Diagnosis(
        "retirements",
        "problem" if over and row.stops else "warning",
        f"{use.where} names {use.name}: {row.what}, {when} ({row.source})",
        f"use instead: {row.instead}",
    )


def _images(dockerfile: Path) -> list[str]:
    if not dockerfile.is_file():
        return []
    return re.findall(r"^FROM\s+(\S+)", dockerfile.read_text(encoding="utf-8"), re.M)


def _required(dockerfile: Path) -> list[str]:
    return _names(dockerfile.with_name("requirements.txt"))


def _names(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [name for line in lines if (name := _name(line))]


def _name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9][\w.-]*", requirement.strip())
    return found[0] if found else ""
