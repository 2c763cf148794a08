"""ARM resource ids: their type, name, parent, scope and group."""

import re

_GROUP = re.compile(r"^/subscriptions/[^/]+/resourcegroups/[^/]+", re.IGNORECASE)


def type_of(id: str) -> str:
    """`Microsoft.Storage/storageAccounts/blobServices`, also for groups, subscriptions and extension resources."""
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
    """The resource that holds this one: `…/storageAccounts/a` for `…/storageAccounts/a/blobServices/default`.

    For a resource of the first level, and for one that extends another, the scope that it lies in.
    """
    segments = id.rstrip("/").split("/")
    if len(segments) >= 6 and segments[-4].lower() == "providers":
        return "/".join(segments[:-4])
    return "/".join(segments[:-2])


def group_of(id: str) -> str | None:
    """The id of the resource group; None above groups."""
    found = _GROUP.match(id)
    return found.group(0) if found else None


def subscription_of(id: str) -> str | None:
    segments = id.strip("/").split("/")
    return segments[1] if len(segments) > 1 and segments[0].lower() == "subscriptions" else None


def is_within(id: str, place: str) -> bool:
    """Whether the resource is the one at the place, or lies below it; everything lies below ""."""
    return f"{id}/".lower().startswith(f"{place}/".lower()) if place else True


def plain(location: str) -> str:
    """A location's name, however it was written: `East US 2` is `eastus2`."""
    return location.replace(" ", "").lower()


def is_collection(path: str) -> bool:
    """Whether the path names a kind of things, such as `…/storageAccounts`, rather than one thing."""
    segments = path.strip("/").split("/")
    last = max((i for i, s in enumerate(segments) if s.lower() == "providers"), default=None)
    if last is None:
        return len(segments) % 2 == 1
    return (len(segments) - last) % 2 == 1
