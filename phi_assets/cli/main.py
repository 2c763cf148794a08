"""The `phi` command: its subcommands and options. What a subcommand does is imported when it runs."""

import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import click

from phi_assets.cli.commands import Commands
from phi_assets.cli.completion import SHELLS, answer_ids, script, version_numbers

if TYPE_CHECKING:
    from phi_assets.settings import Settings

DAILY, MODELS, AZURE, SHELL = "Day to day", "Models and answers", "Azure", "Set up"
FORMATS = ("gguf", "safetensors", "onnx")
QUANTIZATIONS = ("f32", "bf16", "f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")  # as export_code.gguf_file has them

as_json = click.option("--json", "as_json", is_flag=True, help="for programs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status: 0 success, 1 failure with the reason on stderr, 2 wrong usage."""
    os.umask(0o077)  # conversations and keys are their user's own; every process that `phi` starts inherits it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # characters that the terminal's encoding lacks
    if arguments is None:
        sys.excepthook = _print_bug
    try:
        return phi.main(arguments, prog_name="phi", standalone_mode=False) or 0
    except click.ClickException as e:
        _print_usage_error(e)
        return e.exit_code
    except click.Abort:
        _print_error("interrupted")
        return 130
    except BrokenPipeError:  # `phi status | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as e:  # and not SystemExit, with which completion ends: the classes of known errors load Dagster
        wrong_setting = isinstance(e, _settings_error())
        known = wrong_setting or isinstance(e, _known_errors())
        said = str(e) if known else _fault(e)
        if not known and not said:
            raise
        _print_error(said)
        return 2 if wrong_setting else 1


@click.group(
    cls=Commands,
    invoke_without_command=True,
    examples=["phi run", "phi ask 'How long is the guarantee?'", "phi why --last"],
    note="Settings are PHI_* variables, in the environment or in .env; .env.example and the documentation list them.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="phi-assets")
@click.pass_context
def phi(context: click.Context) -> None:
    """Fine-tune a Phi model on your conversations, serve it, and keep it fresh.

    `phi run` makes everything that is missing or out of date; the other commands show what exists and where it came
    from.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@phi.command(section=DAILY, examples=["phi run"])
def run() -> int:
    """Make whatever is missing or stale, and nothing else."""
    from phi_assets.cli.run import run

    return run(_current())


@phi.command(section=DAILY, examples=["phi dev"])
def dev() -> None:
    """Run Dagster's UI and daemon in the foreground."""
    from phi_assets.instance import home, server

    settings = _current()
    with server.only_dev(settings):
        with home.instance(settings) as instance:
            server.make_way(settings, instance)
            port = server.free_port(settings.ui_port)
        print(f"Dagster's UI on http://127.0.0.1:{port}; Ctrl-C ends it", flush=True)
        server.take_signals()
        command = server.command(port, server.loaded_from(settings), "foreground")
        os.execvpe(command[0], command, server.variables_of_servers(settings))


@phi.command(section=DAILY, examples=["phi down"])
def down() -> int:
    """Stop the servers, UI and daemon; keep everything made."""
    from phi_assets.cli.down import down

    return down(_current())


@phi.command(section=DAILY, examples=["phi clean --dry-run", "phi clean"])
@click.option("--dry-run", is_flag=True, help="remove nothing; show what would go, and why")
@as_json
def clean(dry_run: bool, as_json: bool) -> int:
    """Remove weights, data, runs and logs that nothing needs."""
    from phi_assets.cli.clean import clean_home

    return clean_home(_current(), dry_run=dry_run, as_json=as_json)


@phi.command(section=DAILY, examples=["phi backup"])
def backup() -> int:
    """Copy the databases, also while they are in use."""
    from phi_assets.cli.backup import backup

    return backup(_current())


@phi.command(section=DAILY, examples=["phi restore"])
def restore() -> int:
    """Put copies in the place of damaged databases."""
    from phi_assets.cli.backup import restore

    return restore(_current())


@phi.command(section=DAILY, examples=["phi status", "phi status --json | jq .would_run"])
@as_json
def status(as_json: bool) -> int:
    """Show what exists, whether it is fresh, and what would run."""
    from phi_assets.cli.status import show

    return show(_current(), as_json=as_json)


@phi.command(
    section=DAILY, examples=["phi ask 'How long is the guarantee?'", "phi ask --base 'How long is the guarantee?'"]
)
@click.argument("question")
@click.option("--base", is_flag=True, help="ask the base model instead")
@as_json
def ask(question: str, base: bool, as_json: bool) -> int:
    """Ask the deployed model a question."""
    from phi_assets.cli import ask
    from phi_assets.cli.console import print_json, print_text

    settings = _current()
    answer = ask.ask_base(settings, question) if base else ask.ask_deployed(settings, question)
    if as_json:
        print_json(answer)
    else:
        print_text(answer["answer"])
        print_text(ask.provenance(answer), error=True)
        if settings.keep_answers_days > 0 and not base:
            print_text(f"where it came from: phi why {answer['id']}", error=True)
    return 0


@phi.command(section=DAILY, examples=["phi chat", "phi chat --terminal"])
@click.option("--terminal", is_flag=True, help="chat in this terminal instead")
@click.option("--base", is_flag=True, help="start the base model too, to compare answers")
@click.option("--link", is_flag=True, help="print the link, and open no browser")
@click.option("--key", "show_key", is_flag=True, help="print the address and the key for other programs")
def chat(terminal: bool, base: bool, link: bool, show_key: bool) -> int:
    """Open the chat page: conversations with the deployed model, kept."""
    from phi_assets.cli.chat_page import chat

    if terminal + link + show_key > 1:
        raise click.UsageError("give one of --terminal, --link and --key")
    return chat(_current(), terminal=terminal, base=base, browser=not link, show_key=show_key)


@phi.command(section=MODELS, examples=["phi forget 7b0c0a4e-8d0e-4f5b-9a51-0d4a8f6f0f5e", "phi forget --all"])
@click.argument("conversation", required=False)
@click.option("--user", help="only conversations of this person, by the id that the chat's history has")
@click.option("--all", "everything", is_flag=True, help="every conversation of the chat")
@click.option("--yes", is_flag=True, help="do not ask")
def forget(conversation: str | None, user: str | None, everything: bool, yes: bool) -> int:
    """Delete conversations of the chat, and what was made of them."""
    from phi_assets.cli.review import forget

    if everything == bool(conversation or user):
        raise click.UsageError("give one conversation's id, which its page's address ends with, --user, or --all")
    return forget(_current(), conversation, user, yes=yes)


@phi.command(section=MODELS, examples=["phi review"])
@click.option("--link", is_flag=True, help="print the address, and open no browser")
def review(link: bool) -> int:
    """Open the page where people decide what is learned from the chat."""
    from phi_assets.cli.review import review

    return review(_current(), browser=not link)


@phi.command(section=MODELS, examples=["phi why --last", "phi why chatcmpl-0f8fad5bd9cb469fa16570867728950e"])
@click.argument(
    "answer",
    required=False,
    shell_complete=answer_ids,
    help="its id, as the client, `phi ask` or `phi answers` shows it",
)
@click.option("--last", is_flag=True, help="the newest answer")
@as_json
def why(answer: str | None, last: bool, as_json: bool) -> int:
    """Show which model and which data made an answer."""
    from phi_assets.cli.why import why

    if last == bool(answer):
        raise click.UsageError("give `phi why` one answer's id, or --last; `phi answers` lists them")
    return why(_current(), answer, as_json=as_json)


@phi.command(section=MODELS, examples=["phi answers -n 5"])
@click.option("-n", "count", type=click.IntRange(min=1), default=20, show_default=True, help="how many")
@as_json
def answers(count: int, as_json: bool) -> int:
    """List the newest answers, with their ids."""
    from phi_assets.cli.why import answers

    return answers(_current(), count, as_json=as_json)


@phi.command(section=MODELS, examples=["phi experiments"])
@as_json
def experiments(as_json: bool) -> int:
    """Show every training and candidate side by side, best first."""
    from phi_assets.cli.models import experiments

    return experiments(_current(), as_json=as_json)


@phi.command(section=MODELS, examples=["phi models"])
@as_json
def models(as_json: bool) -> int:
    """Show every registered version, its state and the reason."""
    from phi_assets.cli.models import show

    return show(_current(), as_json=as_json)


@phi.command(
    section=MODELS,
    examples=[
        "phi promote 2 --reason 'version 3 is too terse'",
        "phi promote --despite keeps_general_answers --reason 'it may forget'",
    ],
)
@click.argument(
    "version", required=False, default="", shell_complete=version_numbers, help="its number, as `phi models` lists it"
)
@click.option(
    "--despite",
    multiple=True,
    metavar="CHECK",
    help="instead of a version: promote the newest evaluated model although it failed this check; may be repeated",
)
@click.option("--reason", default="", help="stored with the version that is promoted, or withdrawn for it")
def promote(version: str, despite: tuple[str, ...], reason: str) -> int:
    """Make a registered version champion by hand, and deploy it."""
    from phi_assets.cli.models import promote

    return promote(_current(), version, despite, reason)


@phi.command(
    section=MODELS,
    examples=["phi export --to phi-chat-gguf", "phi export 2 --format safetensors --to phi-chat-2"],
)
@click.argument(
    "version", required=False, default="", shell_complete=version_numbers, help="its number; without it, the champion"
)
@click.option(
    "--format", type=click.Choice(FORMATS), default="gguf", show_default=True, help="onnx: says how to make it"
)
@click.option(
    "--quantize",
    type=click.Choice(QUANTIZATIONS),
    default="q8_0",
    show_default=True,
    help="how GGUF stores the weights",
)
@click.option("--to", type=click.Path(path_type=Path), required=True, help="the new folder")
def export(version: str, format: str, quantize: str, to: Path) -> int:
    """Write a model for Ollama, llama.cpp and other runtimes."""
    from phi_assets.cli.export import export

    return export(_current(), version, format=format, quantize=quantize, to=to)


@phi.command(section=MODELS, examples=["phi rollback --reason 'it invents prices'"])
@click.option("--reason", default="", help="stored with the version that is withdrawn")
def rollback(reason: str) -> int:
    """Withdraw the champion, and deploy the former one."""
    from phi_assets.cli.models import rollback

    return rollback(_current(), reason)


@phi.command(section=AZURE, examples=["phi preflight"])
@as_json
def preflight(as_json: bool) -> int:
    """Examine the subscription before anything is made in it."""
    from phi_assets.cli.azure import preflight

    return preflight(_current(), as_json=as_json)


@phi.command(section=AZURE, examples=["phi cost"])
@as_json
def cost(as_json: bool) -> int:
    """Show costs of resources and jobs on Azure, the budget left."""
    from phi_assets.cli.azure import cost

    return cost(_current(), as_json=as_json)


@phi.command(section=AZURE, examples=["phi teardown", "phi teardown --all"])
@click.option("--all", "everything", is_flag=True, help="everything, for good: the whole resource group")
@click.option("--yes", is_flag=True, help="do not ask")
def teardown(everything: bool, yes: bool) -> int:
    """Delete endpoints and clusters on Azure after confirmation."""
    from phi_assets.cli.azure import teardown

    return teardown(_current(), everything=everything, yes=yes)


@phi.command(section=SHELL, examples=["phi notify --test"])
@click.option("--test", is_flag=True, required=True, help="send a test message to PHI_WEBHOOK")
def notify(test: bool) -> int:
    """Test whether failure messages arrive."""
    from phi_assets.cli.notify import send_test

    del test
    return send_test(_current())


@phi.command(section=SHELL, examples=['eval "$(phi completion bash)"', "phi completion fish | source"])
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that completes `phi` in a shell.

    To have it in every new shell, write the example's line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
    """
    click.echo(script(phi, shell))


def _current() -> "Settings":
    from phi_assets.settings import current

    return current()


def _settings_error() -> type[Exception]:
    from phi_assets.settings import SettingsError

    return SettingsError


def _known_errors() -> tuple[type[Exception], ...]:
    """Return the errors that the user can fix, shown as one line. Any other is a bug, and keeps its traceback."""
    from phi_assets.answer_log import AnswersUnreadable, UnknownAnswer
    from phi_assets.cli.ask import NothingDeployed
    from phi_assets.databases import InUse
    from phi_assets.errors import BackendError, EndpointDown
    from phi_assets.instance.home import Busy
    from phi_assets.instance.server import DagsterNotReady
    from phi_assets.lineage.trace import NotTraceable

    unknown = (AnswersUnreadable, NotTraceable, UnknownAnswer)
    return (BackendError, Busy, DagsterNotReady, EndpointDown, InUse, NothingDeployed, *unknown)


def _fault(error: Exception) -> str:
    """Return the sentence for a fault of this machine, such as a full disk; empty for a bug."""
    from phi_assets import faults
    from phi_assets.project import WORKING_FOLDER

    try:
        home = _current().home
    except Exception:  # the settings may be what cannot be read
        home = WORKING_FOLDER
    return faults.sentence(error, home)


def _print_error(message: object) -> None:
    from phi_assets.cli.console import print_error

    print_error(message)


def _print_usage_error(error: click.ClickException) -> None:
    """Print what click says, in which it repeats arguments as they were typed."""
    from phi_assets.cli.console import print_text

    said = io.StringIO()
    error.show(said)
    print_text(said.getvalue().rstrip(), error=True)


def _print_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, whose message may contain any text."""
    from phi_assets.cli.console import print_text

    print_text("".join(traceback.format_exception(kind, error, trace)).rstrip(), error=True)


if __name__ == "__main__":
    sys.exit(main())
