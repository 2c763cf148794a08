"""The model card: what is known of a registered model, written as Markdown with front matter."""
