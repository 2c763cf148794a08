"""Click commands whose help has examples, and a group that lists its commands by section."""

from collections.abc import Sequence
from typing import Any

import click


class Command(click.Command):
    """A command with a section in the group's help, and examples in its own."""

    def __init__(self, *arguments: Any, examples: Sequence[str], section: str = "", **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.examples, self.section = examples, section

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)


class Commands(click.Group):
    """A group that lists its commands by section, in the order of their definition."""

    command_class = Command

    def __init__(self, *arguments: Any, examples: Sequence[str], note: str, **others: Any) -> None:
        super().__init__(*arguments, **others)
        self.examples, self.note = examples, note

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        width = max(map(len, self.commands))
        for name, command in self.commands.items():
            section = command.section if isinstance(command, Command) else ""
            sections.setdefault(section, []).append((name.ljust(width), command.get_short_help_str(limit=80)))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_examples(formatter, self.examples)
        formatter.write_paragraph()
        formatter.write_text(self.note)


def write_examples(formatter: click.HelpFormatter, examples: Sequence[str]) -> None:
    """Write command lines, each on a line of its own."""
    with formatter.section("Example" if len(examples) == 1 else "Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
