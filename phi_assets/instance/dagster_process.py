"""One of Dagster's servers as a process of ours: it ends when its supervisor does, and its webserver is guarded.

    python -m phi_assets.instance.dagster_process LIFELINE webserver|daemon|code-server [options of Dagster's command]

LIFELINE is the descriptor of a pipe whose other end only the supervisor holds.
"""

import os
import signal
import sys
import threading
import time

END_SECONDS = 15


def main() -> None:
    lifeline, server, options = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    os.set_inheritable(lifeline, False)
    threading.Thread(target=_end_with, args=(lifeline,), name="lifeline", daemon=True).start()
    sys.argv = [f"dagster-{server}", *options]
    if server == "webserver":
        _serve_guarded(options)
    elif server == "daemon":
        from phi_assets.graph.dagster_internals import run_daemon

        run_daemon(options)
    else:
        from phi_assets.graph.dagster_internals import run_code_server

        run_code_server(options)


def _serve_guarded(options: list[str]) -> None:
    from phi_assets.graph.dagster_internals import run_webserver
    from phi_assets.instance.guard import Guard
    from phi_assets.settings import current

    hosts = current().ui_hosts
    run_webserver(options, lambda application: Guard(application, hosts))


def _end_with(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(END_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
