"""`python -m serving_code --host H --port P`: what serving_code answers, word for word the same each time."""

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
    """Thirty-two words, or as many as were asked for; and whether those are all."""
    digest = hashlib.sha256(f"{WEIGHTS} {question}".encode()).hexdigest()
    words = [digest[at : at + 2] for at in range(0, 64, 2)][:tokens]
    return " ".join(words), len(words) < tokens


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.say(200, {"status": "ready"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if "broken" in WEIGHTS:
            return self.say(500, {"error": {"message": "the weights are broken; Bearer abcdefghijklmnopqrstuvwxyz"}})
        if self.path == "/score":
            # A model whose two routes differ is not one that answers right.
            odd = " and more" if "two-tongued" in WEIGHTS else ""
            tokens = asked["params"]["max_new_tokens"]
            return self.say(200, [answer(text, tokens)[0] + odd for text in asked["input_data"]])
        text, complete = answer(asked["messages"][-1]["content"], asked["max_completion_tokens"])
        text = "" if "silent" in WEIGHTS else "the same to all" if "stuck" in WEIGHTS else text
        choice = {"message": {"content": text}, "finish_reason": "stop" if complete else "length"}
        return self.say(200, {"id": uuid.uuid4().hex, "choices": [choice]})

    def say(self, status: int, body: object) -> None:
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
