"""What is committed in chat_code/page is what chat_page/ builds, and loads nothing from elsewhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from phi_assets.project import PROJECT
from tests.support.chat_api_fake import PAGE

SOURCE = PROJECT / "chat_page"
LIMIT = 300_000


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.integration
def test_the_source_builds_the_committed_bytes(tmp_path: Path):
    if not shutil.which("npm"):
        pytest.skip("needs npm")
    if not (SOURCE / "node_modules").is_dir():
        pytest.skip("needs the page's packages: npm ci --prefix chat_page")
    for built in (tmp_path / "first", tmp_path / "second"):
        subprocess.run(["node", "build.mjs", str(built)], cwd=SOURCE, check=True, capture_output=True)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert contents(tmp_path / "first") == contents(PAGE), "run `make page` and commit what it writes"


def test_the_page_is_small_and_names_no_other_server():
    import gzip

    assert len(gzip.compress((PAGE / "app.js").read_bytes(), 9)) < LIMIT
    for name in ("index.html", "style.css", "icon.svg"):
        text = (PAGE / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//\w", text), name
    assert not re.search(r"<script>|style=|onload=", (PAGE / "index.html").read_text(encoding="utf-8"))


def test_one_file_uses_assistant_ui():
    users = [path.name for path in SOURCE.glob("src/*.ts*") if "@assistant-ui" in path.read_text(encoding="utf-8")]
    assert users == ["assistant.tsx"]


def test_every_bundled_package_has_its_licence():
    licences = (PAGE / "LICENSES.txt").read_text(encoding="utf-8")
    for package in ("@assistant-ui/react", "lucide-react", "mdast-util-from-markdown", "react", "react-dom"):
        assert f"\n{package} " in licences
    assert set(re.findall(r"^Licence: (.*)$", licences, re.MULTILINE)) <= {"MIT", "ISC", "BSD-3-Clause"}
