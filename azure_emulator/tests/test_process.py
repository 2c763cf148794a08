"""`python -m azure_emulator`: up, env, status and down; and the settings of `python -m tests.support.azure_local`."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from azure_emulator.identity.identities import SUBSCRIPTION
from azure_emulator.process import PROJECT
from tests.support import azure_local

pytestmark = pytest.mark.azure


def run(state: Path, command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "azure_emulator", command, "--state", str(state)]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=120)


def test_it_outlives_its_command_is_started_once_and_stops_whole(tmp_path: Path) -> None:
    assert run(tmp_path, "status").returncode == 1
    assert "is up" in run(tmp_path, "up").stdout
    try:
        server = psutil.Process(int((tmp_path / "pid").read_text()))
        family = [server, *server.children(recursive=True)]
        run(tmp_path, "up")
        assert int((tmp_path / "pid").read_text()) == server.pid
        assert "0 resources" in run(tmp_path, "status").stdout
        exports = run(tmp_path, "env").stdout
        script = f"{exports}\naz account show --query id -o tsv; env"
        seen = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
        assert seen.stdout.startswith("00000000-0000-0000-0000-0000000000aa")
        for name in ("HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            assert f"{name}=" in seen.stdout
    finally:
        stopped = run(tmp_path, "down")
    assert stopped.stdout.strip() == "stopped"
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert run(tmp_path, "down").stdout.strip() == "it was not running"


def test_a_setting_of_the_shell_wins_but_for_backend_and_subscription() -> None:
    shell = {"PHI_PRESET": "mine", "PHI_BACKEND": "local", "PHI_AZURE_SUBSCRIPTION_ID": "another", "HOME": "/home/me"}
    assert azure_local.settings(shell) == {
        **azure_local.DEFAULTS,
        "PHI_PRESET": "mine",
        "PHI_BACKEND": "azure",
        "PHI_AZURE_SUBSCRIPTION_ID": SUBSCRIPTION,
        "HOME": "/home/me",
    }
