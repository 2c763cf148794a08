"""The model card of a registered model, as Markdown with front matter."""
