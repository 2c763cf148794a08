"""The training code is standalone: it is uploaded to a job that has neither the rest of the project nor Dagster."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "training_code"
FILES = sorted(FOLDER.glob("*.py"))


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_imports_neither_the_project_nor_dagster(path: Path):
    tops = {name.partition(".")[0] for name in imported(path)}
    assert not tops & {"phi_assets", "serving_code", "evaluation_code", "dagster", "dagster_azure", "tests"}
    assert "dagster_pipes" not in tops or path.name == "pipes.py"


def test_a_bare_start_imports_no_dagster_pipes():
    code = (
        "import sys, os; os.environ.pop('DAGSTER_PIPES_CONTEXT', None)\n"
        "from training_code.pipes import reporter\n"
        "with reporter() as say: say.line('hello')\n"
        "assert not [name for name in sys.modules if name.startswith('dagster')]"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "hello\n"), done.stderr


def test_reading_the_settings_loads_nothing_heavy():
    code = (
        "import sys; from training_code import checkpoints, lifeline, fine_tune\n"
        "assert not {'torch', 'transformers', 'datasets', 'peft', 'trl', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
