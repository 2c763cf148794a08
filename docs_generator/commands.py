"""Every `phi` command, as `--help` shows it, from the click group."""

from collections.abc import Iterator

import click

from docs_generator.markdown import page
from phi_assets.cli.main import phi

WIDTH = 100


def commands_page() -> str:
    """Return the reference page of all commands."""
    parts = []
    for context in contexts(_context(phi, "phi", None)):
        level = "#" * max(2, 1 + context.command_path.count(" "))
        parts.append(f"{level} {context.command_path}\n\n```text\n{context.get_help().strip()}\n```")
    return page(
        "Commands",
        "`phi` is in `.venv/bin` after `make run`, and on the PATH of the environment that the wheel was installed in. "
        "It exits with 0 after success, 1 after a failure, with the reason on standard error, 2 for wrong usage or a "
        "wrong setting, and 130 when it was interrupted. With `--json` a command prints JSON for programs.",
        *parts,
        "## make",
        "In the repository, `make help` lists the targets: `make run`, `make dev` and `make down` are `phi run`, "
        "`phi dev` and `phi down` after an installation of the locked packages into `.venv`.",
    )


def contexts(context: click.Context) -> Iterator[click.Context]:
    """Yield the context of a command, then those of its subcommands."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command and not command.hidden:
                yield from contexts(_context(command, name, context))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    return click.Context(command, info_name=name, parent=parent, **settings)
