"""The `phi` command: thin, over Dagster's own API."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from phi_assets.settings import Settings, SettingsError, current


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit status: 0 done, 1 not done (and why, on stderr), 2 wrong usage."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    if not hasattr(chosen, "do"):
        parser.print_help()
        return 0
    try:
        return chosen.do(current(), chosen)
    except SettingsError as e:
        print(f"phi: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("phi: interrupted", file=sys.stderr)
        return 130
    except _known_errors() as e:
        print(f"phi: {e}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="phi", description=__doc__, epilog="Settings are PHI_* variables; see README.md."
    )
    commands = parser.add_subparsers(title="commands", metavar="")
    run = commands.add_parser("run", help="make whatever is missing or stale, and nothing else")
    run.set_defaults(do=_run)
    dev = commands.add_parser("dev", help="Dagster's UI and daemon in the foreground")
    dev.set_defaults(do=_dev)
    down = commands.add_parser("down", help="stop the servers, the UI and the daemon; keep everything made")
    down.set_defaults(do=_down)
    status = commands.add_parser("status", help="what exists, whether it is fresh, and what would run")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(do=_status)
    ask = commands.add_parser("ask", help="ask the deployed model a question")
    ask.add_argument("question")
    ask.add_argument("--base", action="store_true", help="ask the base model instead")
    ask.add_argument("--json", action="store_true", help="for programs")
    ask.set_defaults(do=_ask)
    why = commands.add_parser("why", help="which model and which data made an answer")
    why.add_argument("answer", nargs="?", help="its id, as the client, `phi ask` or `phi answers` shows it")
    why.add_argument("--last", action="store_true", help="the newest answer")
    why.add_argument("--json", action="store_true", help="for programs")
    why.set_defaults(do=_why)
    answers = commands.add_parser("answers", help="the newest answers, with their ids")
    answers.add_argument("-n", type=_count, default=20, help="how many (20)")
    answers.add_argument("--json", action="store_true", help="for programs")
    answers.set_defaults(do=_answers)
    experiments = commands.add_parser("experiments", help="every training and candidate side by side, best first")
    experiments.add_argument("--json", action="store_true", help="for programs")
    experiments.set_defaults(do=_experiments)
    models = commands.add_parser("models", help="every registered version: champion, former or withdrawn, and why")
    models.add_argument("--json", action="store_true", help="for programs")
    models.set_defaults(do=_models)
    promote = commands.add_parser("promote", help="make a registered version champion by hand, and deploy it")
    promote.add_argument("version", help="its number, as `phi models` lists it")
    promote.add_argument("--reason", default="", help="kept with the version that is withdrawn for it")
    promote.set_defaults(do=_promote)
    rollback = commands.add_parser("rollback", help="withdraw the champion, and deploy the former one")
    rollback.add_argument("--reason", default="", help="kept with the version that is withdrawn")
    rollback.set_defaults(do=_rollback)
    preflight = commands.add_parser("preflight", help="look the subscription over before anything is made in it")
    preflight.add_argument("--json", action="store_true", help="for programs")
    preflight.set_defaults(do=_preflight)
    cost = commands.add_parser("cost", help="what stands on Azure, what it and the last jobs cost, the budget left")
    cost.add_argument("--json", action="store_true", help="for programs")
    cost.set_defaults(do=_cost)
    teardown = commands.add_parser("teardown", help="delete endpoints and clusters on Azure; shows them, and asks")
    teardown.add_argument("--all", action="store_true", help="everything, for good: the whole resource group")
    teardown.add_argument("--yes", action="store_true", help="do not ask")
    teardown.set_defaults(do=_teardown)
    notify = commands.add_parser("notify", help="does a message arrive where failures are told?")
    notify.add_argument("--test", action="store_true", required=True, help="send a test message to PHI_WEBHOOK")
    notify.set_defaults(do=_notify)
    return parser


def _run(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.run import run

    return run(settings)


def _dev(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.instance import home, server

    with home.instance(settings) as instance:
        server.make_way(settings, instance)
        port = server.free_port(settings.ui_port)
    server.remember(settings, os.getpid(), port, foreground=True)
    print(f"Dagster's UI on http://127.0.0.1:{port}; Ctrl-C ends it", flush=True)
    command = server.command(port)
    os.execvpe(command[0], command, {**os.environ, **home.environment(settings)})


def _down(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.down import down

    return down(settings)


def _status(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.status import show

    return show(settings, as_json=chosen.json)


def _ask(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli import ask

    answer = ask.ask_base(settings, chosen.question) if chosen.base else ask.ask_deployed(settings, chosen.question)
    if chosen.json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        print(answer["answer"])
        print(ask.provenance(answer), file=sys.stderr)
        if settings.keep_answers_days > 0 and not chosen.base:
            print(f"where it came from: phi why {answer['id']}", file=sys.stderr)
    return 0


def _why(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.why import why

    if chosen.last == bool(chosen.answer):
        print("phi: give `phi why` one answer's id, or --last; `phi answers` lists them", file=sys.stderr)
        return 2
    return why(settings, chosen.answer, as_json=chosen.json)


def _answers(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.why import answers

    return answers(settings, chosen.n, as_json=chosen.json)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _experiments(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.models import experiments

    return experiments(settings, as_json=chosen.json)


def _models(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.models import show

    return show(settings, as_json=chosen.json)


def _promote(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.models import promote

    return promote(settings, chosen.version, chosen.reason)


def _rollback(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.models import rollback

    return rollback(settings, chosen.reason)


def _preflight(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.azure import preflight

    return preflight(settings, as_json=chosen.json)


def _cost(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.azure import cost

    return cost(settings, as_json=chosen.json)


def _teardown(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.azure import teardown

    return teardown(settings, everything=chosen.all, yes=chosen.yes)


def _notify(settings: Settings, chosen: argparse.Namespace) -> int:
    from phi_assets.cli.notify import send_test

    return send_test(settings)


def _known_errors() -> tuple[type[Exception], ...]:
    """What a person can mend: one clear line. Anything else is a fault of ours, and keeps its traceback."""
    from phi_assets.answer_log import AnswersUnreadable, UnknownAnswer
    from phi_assets.cli.ask import NothingDeployed
    from phi_assets.errors import BackendError, EndpointDown
    from phi_assets.instance.home import Busy
    from phi_assets.instance.server import DagsterNotReady
    from phi_assets.lineage.trace import NotTraceable

    unknown = (AnswersUnreadable, NotTraceable, UnknownAnswer)
    return (BackendError, Busy, DagsterNotReady, EndpointDown, NothingDeployed, *unknown)


if __name__ == "__main__":
    sys.exit(main())
