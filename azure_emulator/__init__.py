"""A local Azure: Azure's own clients over HTTPS, against servers of this machine. See README.md."""
