"""What `make run` made in a home, for the other benchmarks: they measure the model and the data that users see."""

import sys
from pathlib import Path

import dagster as dg

from phi_assets.backends.select import build_resources
from phi_assets.settings import current


def folders() -> tuple[Path, Path]:
    """The base model's folder and the dataset's. Ends the process when `make run` has not made them."""
    resources = build_resources(current())
    records = resources["io_manager"]
    base, dataset = records.latest(dg.AssetKey("base_model")), records.latest(dg.AssetKey("chat_dataset"))
    if base is None or dataset is None:
        sys.exit("there is no base model or no dataset yet; `make run` makes them, PHI_HOME says where")
    return Path(base.address), resources["dataset_store"].folder(dataset)
