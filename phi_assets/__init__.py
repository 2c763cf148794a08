"""Fine-tune a Phi model on your own conversations, ship it and keep it fresh: a Dagster asset graph."""

from phi_assets import project

project.make_importable()
