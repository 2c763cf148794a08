"""Creates the flow's connection and serves the flow, as in a container.

The endpoint's address and key come from ENDPOINT_ADDRESS and ENDPOINT_KEY. With ENDPOINT_AUTH=aad_token there is no
key: the identity that this process is signed in as gets a token. Creates Prompt flow's connection from them, then
replaces itself with `pf flow serve` on HOST:PORT (127.0.0.1:8080 unless set).
"""

import os
import re
import sys
from pathlib import Path

FLOW = Path(__file__).resolve().parent
# Without `trace: none` each server starts a second one for traces, on port 23333.
CONFIGURATION = "telemetry:\n  enabled: false\ntrace:\n  destination: none\nconnection:\n  provider: local\n"
# Prompt flow requires a secret in every custom connection.
NO_KEY = "none"


def main() -> None:
    """Create the connection and replace this process with the server."""
    auth = os.environ.get("ENDPOINT_AUTH", "key")
    if auth not in ("key", "aad_token"):
        sys.exit(f"ENDPOINT_AUTH is {auth!r}; it must be key or aad_token")
    if auth == "aad_token":
        if not (FLOW / "flow_token.py").exists():
            sys.exit("flow_token.py, which gets Entra tokens, is missing: serve a flow packaged with PHI_BACKEND=azure")
        os.environ["ENDPOINT_KEY"] = NO_KEY
    missing = [name for name in ("ENDPOINT_ADDRESS", "ENDPOINT_KEY") if not os.environ.get(name)]
    if missing:
        sys.exit(f"set {' and '.join(missing)} to the model endpoint's address and key")
    state = prepare_state()
    make_connection(os.environ["ENDPOINT_ADDRESS"], os.environ.pop("ENDPOINT_KEY"), auth)
    print(f"serving {FLOW} with Prompt flow's state in {state}", flush=True)
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8080")
    command = ["pf", "flow", "serve", "--source", str(FLOW), "--host", host, "--port", port, "--skip-open-browser"]
    os.execv(Path(sys.executable).with_name("pf"), command)


def prepare_state() -> Path:
    """Create and return Prompt flow's folder, which holds its encryption key; call before importing Prompt flow."""
    state = Path(os.environ.setdefault("PF_HOME_DIRECTORY", str(Path.home() / ".phi-chat-flow")))
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (state / "pf.yaml").exists():
        (state / "pf.yaml").write_text(CONFIGURATION, encoding="utf-8")
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyrings.alt.file.PlaintextKeyring"
    os.environ["KEYRING_PROPERTY_FILE_PATH"] = str(state / "keyring.cfg")
    os.environ["APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED"] = "true"
    os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"
    return state


def make_connection(address: str, key: str, auth: str) -> None:
    """Store the connection under the name in flow.dag.yaml."""
    from promptflow.client import PFClient
    from promptflow.entities import CustomConnection

    match = re.search(r"^\s+connection: (\S+)", (FLOW / "flow.dag.yaml").read_text(encoding="utf-8"), re.MULTILINE)
    if match is None:
        sys.exit(f"{FLOW / 'flow.dag.yaml'} names no connection")
    connection = CustomConnection(name=match.group(1), configs={"address": address, "auth": auth}, secrets={"key": key})
    # Annotated as a class in Prompt flow, but takes an instance.
    PFClient().connections.create_or_update(connection)  # pyright: ignore[reportArgumentType]


if __name__ == "__main__":
    main()
