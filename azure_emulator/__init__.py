"""A local emulator of Azure that serves Azure's own clients over HTTPS. See README.md."""
