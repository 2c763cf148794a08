"""Exact version pins for a packaged flow, read from the environment in which it was tested."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Packages to run the flow, serve it, and store the key that encrypts its connection.
FLOW_PACKAGES = ("promptflow", "httpx", "azure-identity", "keyrings.alt")


def pinned_requirements(packages: Iterable[str] = FLOW_PACKAGES) -> list[str]:
    """Return `name==version` for the packages and all their installed dependencies, sorted by name.

    Pinning Prompt flow alone is not enough: its own requirements have no upper bounds, and newer versions break it.

    Raises:
        PackageNotFoundError: one of `packages` is not installed.
    """
    pins: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    wanted = deque(Requirement(name) for name in packages)
    requested = {canonicalize_name(requirement.name) for requirement in wanted}
    while wanted:
        requirement = wanted.popleft()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            if name in requested:
                raise
            continue  # an optional dependency that is not installed here
        pins[name] = found.version.partition("+")[0]  # no package index has local versions
        wanted.extend(_needed(found.requires or (), extras))
    return [f"{name}=={version}" for name, version in sorted(pins.items())]


def _needed(lines: Iterable[str], extras: frozenset[str]) -> Iterable[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *extras)):
            yield requirement
