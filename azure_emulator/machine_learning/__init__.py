"""Azure Machine Learning: workspaces, clusters, assets and jobs, each with its states."""
