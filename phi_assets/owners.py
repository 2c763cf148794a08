"""Groups and owners of the assets, as Dagster's UI shows them."""

from typing import Literal

ML = ["team:ml"]
PLATFORM = ["team:platform"]

Stage = Literal["infrastructure", "dataset", "training", "evaluation", "serving", "chat", "operations"]
