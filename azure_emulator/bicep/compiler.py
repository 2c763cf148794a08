"""Microsoft's Bicep compiler, if one is installed: compiles templates and predicts their deployments.

`python -m azure_emulator.bicep.compiler` renews infra/main.json and infra/chat.json.
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
    """The compiler reported errors or warnings; the message is the compiler's."""


def compiler() -> Path | None:
    """Return the compiler's path from $BICEP, PATH, `az bicep install` or beside the project; None if absent."""
    named = os.environ.get("BICEP") or shutil.which("bicep")
    if named:
        return Path(named)
    candidates = (Path.home() / ".azure/bin/bicep", PROJECT.parent / "shared/tools/bicep/bicep")
    return next((path for path in candidates if path.is_file()), None)


def build(template: Path) -> str:
    """Compile a Bicep file to an ARM template as JSON text. Raises TemplateRefused, also for a warning."""
    return without_a_warning("build", str(template), "--stdout")


def without_a_warning(command: str, *arguments: str) -> str:
    """Return the output of one compiler call. Raises TemplateRefused if it failed or warned."""
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
    """Return what a deployment of a template (compiled JSON, or Bicep without modules) would create.

    `predictedResources` has each resource with id and body, `outputs` the values. Only values that Azure knows at run
    time stay as text, in brackets: `[reference('<resource id>', '<api version>').principalId]`.
    Raises TemplateRefused for a missing, unknown or forbidden parameter.
    """
    with tempfile.TemporaryDirectory(prefix="bicep-") as folder:
        work = Path(folder)
        # The compiler accepts relative paths only, and writes its result beside the parameters.
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
    """Run the compiler once. Raises TemplateRefused if it failed."""
    environment = {**os.environ, **warm_compiler.ENVIRONMENT}
    done = subprocess.run([_found(), command, *arguments], capture_output=True, text=True, timeout=120, env=environment)
    if done.returncode != 0:
        raise TemplateRefused(f"bicep {command}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def _found() -> Path:
    path = compiler()
    if path is None:
        raise FileNotFoundError("no Bicep compiler; `az bicep install` installs one, or set $BICEP to yours")
    return path


if __name__ == "__main__":
    for source in (PROJECT / "infra").glob("*.bicep"):
        source.with_suffix(".json").write_text(build(source))
