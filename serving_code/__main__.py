"""`python -m serving_code --model DIR`: serve one model over HTTP until stopped."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from serving_code.limits import Limits

# Azure mounts a deployment's model below it, as <name>/<version>/<folder>.
AZURE_MOUNT = Path("/var/azureml-app/azureml-models")

if TYPE_CHECKING:
    from serving_code.answers import AnswerStore
    from serving_code.service import Service


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code."""
    # A shell's background job inherits ignored signals, and could then not be stopped.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    options = _parser().parse_args(arguments)
    # By default OpenMP's threads spin while they wait for each other. With other busy processes, that made two threads
    # up to six times slower than one. Must be set before torch is loaded; makes them sleep instead.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from serving_code.logs import event, log_to_stderr
    from serving_code.server import serve

    log_to_stderr()
    try:
        service = _service(options)
        model_dir = find_model(options.model)
        listener = _listener(options.host, options.port, options.listen_fd)
    except (OSError, ValueError) as e:
        print(f"serving_code: {e}", file=sys.stderr)
        return 2
    if service.key is None and not options.host.startswith("127."):
        event("no_key", warning="SERVING_KEY is not set: anyone who reaches this address is answered")
    return serve(service, listener, model_dir, options.threads, options.dtype)


def _service(options: argparse.Namespace) -> Service:
    from serving_code.service import Identity, Service
    from serving_code.tracing import tracing_to

    limits = {field.name: getattr(options, field.name) for field in fields(Limits) if field.name in options}
    identity = Identity(options.deployment, options.model_name, options.model_version, options.model_digest)
    key = os.environ.get("SERVING_KEY") or None
    origins = tuple(origin.strip() for origin in options.cors_origins.split(",") if origin.strip())
    store = _answer_store(options.answers, options.answers_days)
    return Service(identity, Limits(**limits), key, store, tracing_to(options.traces), cors_origins=origins)


def _answer_store(path: Path | None, days: float) -> AnswerStore | None:
    """The store of answers, or None without a path; with 0 days None too, and stored answers are deleted."""
    import sqlite3

    from serving_code.answers import AnswerStore, delete_all
    from serving_code.logs import event

    if path is None:
        return None
    if days > 0:
        return AnswerStore(path, days)
    try:
        delete_all(path)
    except (sqlite3.Error, OSError) as e:
        event("answers_not_deleted", level=logging.ERROR, error=f"{e}; delete {path}")
    return None


def find_model(given: Path | None) -> Path:
    """The folder with config.json: the given one, or the only one below it (Azure mounts a model in a subfolder).

    Raises FileNotFoundError.
    """
    if given is None:
        raise FileNotFoundError("no model was given; pass --model DIR, or set AZUREML_MODEL_DIR")
    if (given / "config.json").is_file():
        return given
    found = sorted({path.parent for depth in ("*", "*/*", "*/*/*") for path in given.glob(f"{depth}/config.json")})
    if len(found) != 1:
        raise FileNotFoundError(f"{given} holds {len(found)} folders with a config.json; pass the folder of one model")
    return found[0]


def _mounted() -> str | None:
    return str(AZURE_MOUNT) if AZURE_MOUNT.is_dir() else None


def _listener(host: str, port: int, fd: int | None) -> socket.socket:
    """A listening socket: one inherited from the parent, or a new one."""
    if fd is not None:
        return socket.socket(fileno=fd)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=2048)
    return listener


def _parser() -> argparse.ArgumentParser:
    environment = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m serving_code",
        description="Serve one chat model over HTTP: POST /score, and OpenAI's chat completions. "
        "The key that clients must send comes from the environment variable SERVING_KEY; without it none is required.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    model = environment.get("SERVING_MODEL") or environment.get("AZUREML_MODEL_DIR") or _mounted()
    add("--model", type=Path, default=model and Path(model), help="folder of a Hugging Face model")
    add("--host", default=environment.get("SERVING_HOST", "127.0.0.1"), help="address to listen on")
    add("--port", type=int, default=environment.get("SERVING_PORT", "5001"), help="port; 0 takes a free one")
    add("--listen-fd", type=int, default=None, help="file descriptor of a socket that already listens")
    add("--deployment", default=environment.get("SERVING_DEPLOYMENT", "local"), help="name of this deployment")
    add("--model-name", default=environment.get("SERVING_MODEL_NAME", "model"), help="name of the model in answers")
    add("--model-version", default=environment.get("SERVING_MODEL_VERSION", "0"), help="version in answers")
    add("--model-digest", default="", help="digest of the model, stored with answers")
    add("--answers", type=Path, default=None, help="SQLite file that stores questions and answers; none: not stored")
    add("--answers-days", type=float, default=0, help="days to store them; 0 stores none, and deletes stored ones")
    concurrency, queue = (environment.get(f"SERVING_MAX_{what}") for what in ("CONCURRENCY", "QUEUE"))
    kv_memory = environment.get("SERVING_KV_MEMORY_MB") or Limits.kv_memory_mb
    add("--kv-memory-mb", type=int, default=kv_memory, help="for keys and values; 0: 40%% of the free memory")
    add("--traces", default="", help="address that takes OpenTelemetry traces (OTLP over HTTP); none: no traces")
    add("--max-concurrency", type=int, default=concurrency or Limits.max_concurrency, help="answers decoded together")
    add("--max-queue", type=int, default=queue or Limits.max_queue, help="answers that may wait; beyond it 429")
    add("--max-body", type=int, default=Limits.max_body, help="largest request in bytes; beyond it 413")
    add("--default-max-new-tokens", type=int, default=Limits.default_max_new_tokens, help="when the request has none")
    add("--default-temperature", type=float, default=Limits.default_temperature, help="chat; 0 is greedy")
    add("--body-seconds", type=float, default=Limits.body_seconds, help="for a request's body to arrive; then 408")
    add("--write-seconds", type=float, default=Limits.write_seconds, help="for a client to read what was sent")
    origins = environment.get("SERVING_CORS_ORIGINS", "")
    add("--cors-origins", default=origins, help="web pages that may call this server, separated by commas; none: none")
    add("--dtype", choices=("auto", "bfloat16", "float32"), default="auto", help="auto: bfloat16 where it is fast")
    add("--threads", type=int, default=None, help="processor threads; none: torch decides")
    return parser


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 0
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread may be inside torch (loading a model): waiting for it hangs, and a normal exit can crash.
    os._exit(code)
