"""Runs as Dagster records those that a code server of this project started in a process."""

import json

import dagster as dg
from dagster._core.events import EngineEventData
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import GRPC_INFO_TAG

from phi_assets.instance.supervisor import SOCKET_FOLDER
from phi_assets.own_processes import machine
from phi_assets.project import LOCATION


@dg.job
def nothing() -> None: ...


def launched_run(
    instance: dg.DagsterInstance,
    pid: int | None,
    *,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
    location: str = LOCATION,
    on: str = "",
) -> dg.DagsterRun:
    """Return a run that Dagster believes to be going in the process `pid`; None: in none yet. `on`: another machine."""
    socket = f"/tmp/{SOCKET_FOLDER.format(machine=on or machine())}x/code"
    server = GrpcServerCodeLocationOrigin(host="localhost", socket=socket, location_name=location)
    run = instance.create_run_for_job(
        nothing,
        status=status,
        tags={GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": socket})},
        remote_job_origin=RemoteJobOrigin(RemoteRepositoryOrigin(server, "__repository__"), nothing.name),
    )
    if pid is not None:
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run, EngineEventData())
    return run
