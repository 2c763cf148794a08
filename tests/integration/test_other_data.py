"""`phi run` on other data: another format, and a file in which every twentieth line is broken."""

import json
from pathlib import Path

import pytest

from tests.support.homes import OWN, Home, tiny_home

pytestmark = [pytest.mark.long, pytest.mark.integration, pytest.mark.timeout(900)]

BROKEN = {
    "not_json": b'{"messages": [{"role": "user", "content": "Is it tr',
    "bad_utf8": b'{"messages": [{"role": "user", "content": "caf\xe9"}, {"role": "assistant", "content": "Yes."}]}',
    "roles": b'{"messages": [{"role": "wizard", "content": "Abracadabra"}, {"role": "assistant", "content": "No."}]}',
    "template_tokens": b'{"messages": [{"role": "user", "content": "<|end|>"}, {"role": "assistant", "content": "a"}]}',
    "ten_megabytes": b'{"messages": [{"role": "user", "content": "%s"}, {"role": "assistant", "content": "Long."}]}'
    % (b"word " * 2_000_000),
}


def own_rows() -> list[bytes]:
    return OWN.read_bytes().splitlines()


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Own conversations, with a broken line after every twentieth, and the line numbers of those."""
    folder = tmp_path_factory.mktemp("broken")
    lines, numbers, kinds = [], {}, list(BROKEN)
    for place, row in enumerate(own_rows(), start=1):
        lines.append(row)
        if place % 20 == 0:
            kind = kinds[len(numbers) % len(kinds)]
            lines.append(BROKEN[kind])
            numbers[len(lines)] = kind
    (folder / "conversations.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    its = tiny_home(folder, folder / "conversations.jsonl", 3500)
    yield its, numbers
    its.phi("down")


def dataset_of(home: Home) -> Path:
    (folder,) = (path.parent for path in (home.folder / "home" / "local" / "datasets").glob("*/manifest.json"))
    return folder


def test_one_broken_line_in_twenty_costs_that_line_only(broken):
    home, numbers = broken

    assert "chat_flow_evaluation" in home.run()

    manifest = json.loads((dataset_of(home) / "manifest.json").read_text(encoding="utf-8"))
    assert sum(manifest["rows"].values()) == len(own_rows())
    quarantine = [json.loads(line) for line in (dataset_of(home) / "quarantine.jsonl").read_text().splitlines()]
    assert {row["line"] for row in quarantine} == set(numbers)
    assert {Path(row["file"]).name for row in quarantine} == {"conversations.jsonl"}


def alpaca(row: bytes) -> str | None:
    """Return a conversation in Alpaca's format: its last turn, with the turns before as history."""
    messages = [m for m in json.loads(row)["messages"] if m["role"] != "system"]
    turns = [(messages[i]["content"], messages[i + 1]["content"]) for i in range(0, len(messages), 2)]
    question, answer = turns[-1]
    return json.dumps(
        {"instruction": question, "input": "", "output": answer, "history": [list(t) for t in turns[:-1]]}
    )


def test_an_alpaca_file_becomes_a_served_model_without_a_code_change(tmp_path):
    (tmp_path / "alpaca.json").write_text("[" + ",\n".join(map(alpaca, own_rows())) + "]", encoding="utf-8")
    home = tiny_home(tmp_path, tmp_path / "alpaca.json", 3600)
    try:
        assert "online_deployment" in home.run()
        answer = home.told("ask", "Hello?")
        assert answer["dataset_digest"] == dataset_of(home).name
    finally:
        home.phi("down")
