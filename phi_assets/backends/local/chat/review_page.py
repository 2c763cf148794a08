"""MLflow's own page on a port of 127.0.0.1, with the review queue: MLflow's server, its job execution switched off.

MLflow has no login. Its server answers only the names of this machine, and no request of another site.
"""

import argparse
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from phi_assets import child_environment
from phi_assets.backends.local.serving.processes import ServerProcess
from phi_assets.backends.local.serving.servers import EndpointError, answers, await_ready, preferred_listener
from phi_assets.backends.local.serving.state import HOST
from phi_assets.errors import EndpointDown
from phi_assets.files import atomic_write, private_folder
from phi_assets.ports.base import Log, no_log
from phi_assets.project import PROJECT

READY_SECONDS, GRACE_SECONDS = 120.0, 5.0
NAME = "review"


class ReviewPage:
    """The server of one home's MLflow database. It outlives its starter; `phi down` stops it."""

    def __init__(self, folder: Path, database: Path, port: int) -> None:
        self._folder, self._database, self._port = folder, database, port

    def start(self, log: Log = no_log) -> str:
        """Return the server's address; start it where it does not run. Raises EndpointDown."""
        process, file = ServerProcess(private_folder(self._folder), NAME), self._folder / "review.port"
        if process.alive() and file.is_file() and answers(int(file.read_text()), "/health"):
            return f"http://{HOST}:{int(file.read_text())}"
        process.stop(GRACE_SECONDS)
        log("starting MLflow's page, which takes some seconds")
        with preferred_listener(self._port) as listening:
            port = listening.getsockname()[1]
            environment = child_environment.allowed(*child_environment.CHAT) | {"PYTHONPATH": str(PROJECT)}
            command = [sys.executable, "-m", __name__, "--database", str(self._database.absolute())]
            process.start(command, listener=listening, environment=environment, cwd=PROJECT)
        atomic_write(file, str(port))
        try:
            await_ready(process, port, "/health", READY_SECONDS, log=no_log)
        except EndpointError as e:
            raise EndpointDown(str(e)) from e
        return f"http://{HOST}:{port}"

    def stop(self, log: Log = no_log) -> None:
        """Stop the server."""
        process = ServerProcess(self._folder, NAME)
        if self._folder.is_dir() and process.alive():
            log("stopping MLflow's page")
            process.stop(GRACE_SECONDS)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, required=True, help="MLflow's SQLite file")
    parser.add_argument("--listen-fd", type=int, required=True, help="file descriptor of the listening socket")
    options = parser.parse_args()
    listening = socket.socket(fileno=options.listen_fd)
    port = listening.getsockname()[1]
    names = [f"{name}:{port}" for name in (HOST, "localhost")]
    # What `mlflow server` sets before it starts uvicorn; its own command takes no open socket.
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{options.database}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": str(options.database.parent / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(names),
        "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}" for name in names),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    import uvicorn

    # Imported when the variables are set, which it reads.
    from mlflow.server.fastapi_app import app

    config = uvicorn.Config(app, access_log=False, log_level="warning", timeout_graceful_shutdown=2)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
