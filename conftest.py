"""Loads the option `--shard` for every test folder: tests/ and azure_emulator/tests."""

pytest_plugins = ["tests.support.sharding"]
