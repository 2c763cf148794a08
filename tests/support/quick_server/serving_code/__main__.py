"""`python -m serving_code --host H --port P`: serving_code's routes with deterministic answers."""

import hashlib
import json
import os
import sys
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

WEIGHTS = next(Path(os.environ["AZUREML_MODEL_DIR"]).rglob("model.safetensors")).read_text()
SIGNED = {
    "azureml-model-deployment": os.environ["SERVING_DEPLOYMENT"],
    "x-model-name": os.environ["SERVING_MODEL_NAME"],
    "x-model-version": os.environ["SERVING_MODEL_VERSION"],
}


def answer(question: str, tokens: int) -> tuple[str, bool]:
    """Return the answer's first `tokens` of 32 words, and whether it is complete."""
    digest = hashlib.sha256(f"{WEIGHTS} {question}".encode()).hexdigest()
    words = [digest[at : at + 2] for at in range(0, 64, 2)][:tokens]
    return " ".join(words), len(words) < tokens


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_json(200, {"status": "ready"})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if "broken" in WEIGHTS:
            return self.send_json(
                500, {"error": {"message": "the weights are broken; Bearer abcdefghijklmnopqrstuvwxyz"}}
            )
        if self.path == "/score":
            # A model whose two routes differ must fail the smoke test.
            odd = " and more" if "two-tongued" in WEIGHTS else ""
            tokens = request["params"]["max_new_tokens"]
            return self.send_json(200, [answer(text, tokens)[0] + odd for text in request["input_data"]])
        text, complete = answer(request["messages"][-1]["content"], request["max_completion_tokens"])
        text = "" if "silent" in WEIGHTS else "the same to all" if "stuck" in WEIGHTS else text
        choice = {"message": {"content": text}, "finish_reason": "stop" if complete else "length"}
        return self.send_json(200, {"id": uuid.uuid4().hex, "choices": [choice]})

    def send_json(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**SIGNED, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


if "crashing" in WEIGHTS:
    sys.exit("these weights cannot be loaded; Bearer abcdefghijklmnopqrstuvwxyz")
print("serving", flush=True)
ThreadingHTTPServer.request_queue_size = 128
ThreadingHTTPServer((sys.argv[2], int(sys.argv[4])), Handler).serve_forever()
