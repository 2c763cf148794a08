"""Abstract resources that each backend implements, in one file per stage."""
