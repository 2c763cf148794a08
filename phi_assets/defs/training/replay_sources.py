"""The files of what training replays: a source whose data version is the hash of their contents."""

import hashlib

import dagster as dg

from phi_assets.graph.asset_facts import ML, decided_by
from phi_assets.graph.dagster_internals import observed_source
from phi_assets.settings import Settings


@observed_source(
    dg.AssetSpec(
        "replay_sources",
        group_name="training",
        kinds={"json"},
        owners=ML,
        description="The files of PHI_REPLAY with their weights; the data version is their hash.",
        metadata=decided_by("replay"),
    )
)
def replay_sources(settings: dg.ResourceParam[Settings]) -> dg.ObserveResult:
    digest = hashlib.sha256()
    for path, weight in settings.replay_sources.items():
        try:
            digest.update(path.read_bytes())
        except OSError as e:
            raise dg.Failure(
                f"PHI_REPLAY: cannot read {path}: {e.strerror}; correct the path, or set PHI_REPLAY=none",
                allow_retries=False,
            ) from e
        digest.update(f"\0{weight}\0".encode())
    return dg.ObserveResult(data_version=dg.DataVersion(digest.hexdigest()))
