"""Microsoft's Bicep compiler, where one is found: what a template compiles to, and what its deployment would make.

`python -m azure_emulator.bicep.compiler` writes infra/main.json anew.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from azure_emulator.bicep import warm_compiler

PROJECT = Path(__file__).resolve().parents[2]
TENANT = "11111111-1111-1111-1111-111111111111"


class TemplateRefused(Exception):
    """The compiler had something to say against a template or its parameters; the text is its own."""


def compiler() -> Path | None:
    """The compiler's path, or None: $BICEP, the PATH, where `az bicep install` puts it, or beside the project."""
    named = os.environ.get("BICEP") or shutil.which("bicep")
    if named:
        return Path(named)
    candidates = (Path.home() / ".azure/bin/bicep", PROJECT.parent / "shared/tools/bicep/bicep")
    return next((path for path in candidates if path.is_file()), None)


def build(template: Path) -> str:
    """The ARM template, as JSON text, that a Bicep file compiles to. Raises TemplateRefused for a mere warning too."""
    return without_a_warning("build", str(template), "--stdout")


def without_a_warning(command: str, *arguments: str) -> str:
    """What one call of the compiler printed. Raises TemplateRefused when it failed or warned."""
    done = run(command, *arguments)
    # A misspelt property is a warning, with exit code 0.
    if done.stderr.strip():
        raise TemplateRefused(f"bicep {command}: {done.stderr.strip()}")
    return done.stdout


def snapshot(
    template: Path,
    parameters: dict[str, Any],
    subscription_id: str,
    location: str,
    *,
    tenant_id: str = TENANT,
    resource_group: str | None = None,
) -> dict[str, Any]:
    """What a deployment of a template (compiled JSON, or Bicep without modules) with plain parameter values would make.

    `predictedResources` has each resource with its id and body, `outputs` the values. Only what Azure itself knows at
    run time is left as text, in brackets: `[reference('<resource id>', '<api version>').principalId]`.
    Raises TemplateRefused for a parameter that is missing, unknown or not allowed.
    """
    with tempfile.TemporaryDirectory(prefix="bicep-") as folder:
        work = Path(folder)
        # The compiler takes a relative path only, and writes its answer beside the parameters.
        shutil.copyfile(template, work / f"template{template.suffix}")
        (work / "values.json").write_text(json.dumps(parameters))
        lines = [f"using './template{template.suffix}'"]
        lines += [f"param {name} = loadJsonContent('./values.json').{name}" for name in parameters]
        (work / "deployment.bicepparam").write_text("\n".join(lines) + "\n")
        asked = work / "deployment.bicepparam"
        given = {"tenantId": tenant_id, "subscriptionId": subscription_id, "location": location}
        try:
            return warm_compiler.snapshot(_found(), asked, **given, resourceGroup=resource_group, deploymentName=None)
        except warm_compiler.Refused as e:
            raise TemplateRefused(f"bicep snapshot: {e}") from None
        except warm_compiler.NoAnswer:
            pass
        scope = ["--tenant-id", tenant_id, "--subscription-id", subscription_id, "--location", location]
        scope += ["--resource-group", resource_group] if resource_group else []
        run("snapshot", str(asked), *scope)
        return json.loads((work / "deployment.snapshot.json").read_text())


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One call of the compiler, finished. Raises TemplateRefused when it failed."""
    environment = {**os.environ, **warm_compiler.ENVIRONMENT}
    done = subprocess.run([_found(), command, *arguments], capture_output=True, text=True, timeout=120, env=environment)
    if done.returncode != 0:
        raise TemplateRefused(f"bicep {command}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def _found() -> Path:
    path = compiler()
    if path is None:
        raise FileNotFoundError("no Bicep compiler; `az bicep install` installs one, or name yours in $BICEP")
    return path


if __name__ == "__main__":
    (PROJECT / "infra/main.json").write_text(build(PROJECT / "infra/main.bicep"))
