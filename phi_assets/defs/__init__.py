"""The asset graph, one folder per stage."""
