"""What holds for a home at every moment: each file is the old one or the new one, and nothing half written is left."""

import json
import shutil
from pathlib import Path

from phi_assets import databases
from tests.support.homes import OWN, Home, tiny_home

ROWS = 150
DRAFTS = (".draft", ".probe-")


def not_whole(home: Path) -> list[str]:
    """Return what is wrong: JSON that does not parse, damaged databases, and drafts that a failed write left."""
    wrong = []
    for file in home.rglob("*.json"):
        try:
            json.loads(file.read_bytes())
        except ValueError as e:
            wrong.append(f"{file}: {e}")
    for file in (*home.rglob("*.db"), *home.rglob("*.sqlite")):
        if file.is_file() and (reason := databases.damage(file)):
            wrong.append(f"{file}: {reason}")
    for file in home.rglob(".*"):
        of_a_write = any(file.name.startswith(f".{each.name}.") for each in file.parent.iterdir())
        if file.is_file() and (of_a_write or file.name.startswith(DRAFTS)):
            wrong.append(f"{file} was left")
    return wrong


class MadeHome:
    """A home in which every asset was made once; `put_back` makes it again what it was then."""

    def __init__(self, folder: Path, ui_port: int) -> None:
        lines = OWN.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / "conversations.jsonl").write_text("".join(lines[:ROWS]), encoding="utf-8")
        made = tiny_home(folder, folder / "conversations.jsonl", ui_port)
        self.commands = Home(folder, {**made.settings, "PHI_PROMPT_FLOW": "off"})
        self.path = Path(made.settings["PHI_HOME"])
        self._saved = folder / "saved"

    def make(self) -> None:
        self.commands.run()
        assert self.commands.phi("ask", "Hello?").returncode == 0  # an answer is stored
        assert self.commands.phi("down").returncode == 0
        shutil.copytree(self.path, self._saved, symlinks=True)

    def put_back(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self._saved, self.path, symlinks=True)
