"""Compares each lock with public security advisories: `make audit`.

pip-audit asks PyPI's advisory database. A vulnerability with a fix fails, unless advisories.toml says why it cannot
touch the project. The locks are compared with the dated list in advisories.toml too, which is kept by hand: an index
may know no advisories, or not be reached.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.version import Version

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
LOCKS = (*sorted(HERE.glob("lock*.txt")), *sorted(PROJECT.glob("*_code/environment/requirements.txt")))


def main() -> int:
    """Return 0 when no lock has a known vulnerability with a fix, apart from those that advisories.toml explains."""
    known = tomllib.loads((HERE / "advisories.toml").read_text(encoding="utf-8"))
    found: list[str] = []
    reached = True
    for lock in LOCKS:
        name = lock.relative_to(PROJECT).as_posix()
        asked = ask_database(lock) if reached else None
        if asked is None and reached:
            reached = False
            print(f"the advisory database cannot be reached: comparing with the list of {known['as_of']} only")
        rows = [*(asked or ()), *listed(lock, known["advisory"])]
        found += [f"{name}: {row}" for row in rows if not explained(row, name, known["explained"])]
        print(f"{name}: {len(pins(lock))} packages, {len(rows)} advisories")
    for each in known["explained"]:
        print(f"explained: {each['id']} {each['package']} in {each['lock']}: {each['why']}")
    print("\n".join(found) if found else "no known vulnerability with a fix")
    return 1 if found else 0


def ask_database(lock: Path) -> list[str] | None:
    """Return `package version: id, fixed in ...` for each vulnerability with a fix; None without a connection."""
    command = [sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip", "--format=json", "-r", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    return [
        f"{package['name']} {package['version']}: {each['id']}, fixed in {', '.join(each['fix_versions'])}"
        for package in packages
        for each in package.get("vulns", ())
        if each["fix_versions"]
    ]


def listed(lock: Path, advisories: list[dict[str, Any]]) -> list[str]:
    """Return the same from a list of advisories: package, id, and the first release with the fix."""
    pinned = pins(lock)
    return [
        f"{each['package']} {pinned[each['package']]}: {each['id']}, fixed in {each['fixed_in']}"
        for each in advisories
        if each["package"] in pinned and Version(pinned[each["package"]]) < Version(each["fixed_in"])
    ]


def explained(row: str, lock: str, explanations: list[dict[str, str]]) -> bool:
    """Return whether advisories.toml says why this row cannot touch the project."""
    return any(row.startswith(each["package"]) and each["id"] in row and each["lock"] == lock for each in explanations)


def pins(lock: Path) -> dict[str, str]:
    """Return the version of each package of a lock."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


if __name__ == "__main__":
    sys.exit(main())
