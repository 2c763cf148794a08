"""Asset keys: the project's name for an asset, with PHI_PROJECT before it: one Dagster can have several projects.

Everywhere else, in records and in the backend an asset has its plain name.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from phi_assets.graph.dagster_internals import with_asset_keys
from phi_assets.settings import current

INPUT_PREFIX = "dagster/input_data_version/"


def key_of(name: str) -> dg.AssetKey:
    """Return the key of the project's asset of this name."""
    key, project = dg.AssetKey.from_user_string(name), current().project
    return key.with_prefix(project) if project else key


def name_of(key: dg.AssetKey) -> str:
    """Return the plain name of the project's asset with this key, or the whole key of another project's."""
    project = current().project
    path = key.path[1:] if project and len(key.path) > 1 and key.path[0] == project else key.path
    return dg.AssetKey(path).to_user_string()


def input_tag(name: str) -> str:
    """Return the tag of a materialisation in which Dagster stores the data version of this upstream asset."""
    return INPUT_PREFIX + key_of(name).to_user_string()


def input_versions(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the data versions of the upstream assets, by plain name, from the tags of a materialisation."""
    found = {tag.removeprefix(INPUT_PREFIX): version for tag, version in tags.items() if tag.startswith(INPUT_PREFIX)}
    return {name_of(dg.AssetKey.from_user_string(key)): version for key, version in found.items()}


def with_project(definitions: Iterable[Any]) -> list[Any]:
    """Return assets or checks whose keys, dependencies and inputs have the project's prefix, where there is one."""
    if not current().project:
        return list(definitions)
    return [with_asset_keys(each, lambda key: key_of(key.to_user_string())) for each in definitions]
