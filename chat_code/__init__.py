"""The chat: a page, its server, and the history of conversations. Imports nothing else of the project."""
