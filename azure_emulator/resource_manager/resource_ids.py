"""ARM resource ids: their type, name, parent, scope and group."""

import re

_GROUP = re.compile(r"^/subscriptions/[^/]+/resourcegroups/[^/]+", re.IGNORECASE)


def type_of(id: str) -> str:
    """Return the resource type of an id, also of groups, subscriptions and extension resources."""
    segments = id.strip("/").split("/")
    last = max((i for i, s in enumerate(segments) if s.lower() == "providers"), default=None)
    if last is None:
        return "Microsoft.Resources/resourceGroups" if len(segments) >= 4 else "Microsoft.Resources/subscriptions"
    if last + 1 >= len(segments):
        return "Microsoft.Resources/providers"
    return "/".join([segments[last + 1], *segments[last + 2 :: 2]])


def provider_of(id: str) -> str:
    return type_of(id).split("/")[0]


def name_of(id: str) -> str:
    return id.rstrip("/").rsplit("/", 1)[-1]


def parent_of(id: str) -> str:
    """Return the parent's id: `…/storageAccounts/a` for `…/storageAccounts/a/blobServices/default`.

    For top-level and extension resources this is their scope.
    """
    segments = id.rstrip("/").split("/")
    if len(segments) >= 6 and segments[-4].lower() == "providers":
        return "/".join(segments[:-4])
    return "/".join(segments[:-2])


def group_of(id: str) -> str | None:
    """Return the id of the resource group, or None."""
    found = _GROUP.match(id)
    return found.group(0) if found else None


def subscription_of(id: str) -> str | None:
    segments = id.strip("/").split("/")
    return segments[1] if len(segments) > 1 and segments[0].lower() == "subscriptions" else None


def is_within(id: str, place: str) -> bool:
    """Return whether the id is `place` or below it; everything is below ""."""
    return f"{id}/".lower().startswith(f"{place}/".lower()) if place else True


def plain(location: str) -> str:
    """Return a location's normalized name: `East US 2` is `eastus2`."""
    return location.replace(" ", "").lower()


def is_collection(path: str) -> bool:
    """Return whether the path is a collection such as `…/storageAccounts`, not one resource."""
    segments = path.strip("/").split("/")
    last = max((i for i, s in enumerate(segments) if s.lower() == "providers"), default=None)
    if last is None:
        return len(segments) % 2 == 1
    return (len(segments) - last) % 2 == 1
