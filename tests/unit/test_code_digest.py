"""Digests of source code change with its logic and not with its form, and agree between releases of Python."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from phi_assets import code_digest
from phi_assets.project import PROJECT

SOURCE = '''"""A module."""

import math
from os import path as where


def area(radius: float) -> float:
    """The area of a circle."""
    log(f"radius {radius}")
    return math.pi * radius**2  # a comment


class Square:
    """A square."""

    side: float = 1.0
    """In metres."""

    def area(self):
        self._log.info("asked")
        return f"{self.side!r:>{10}} m" "2"
'''
OTHER_FORM = '''# Another comment.
import math, os


def area(
    radius: float,
) -> float:
    return (math.pi
            * radius ** 2)


class Square:
    side: float = 1.0

    def area(self):
        """Another docstring."""
        logger.debug("asked again")
        return f'{self.side!r:>{10}} m2'
'''


def test_the_form_does_not_count():
    assert code_digest.of_python(OTHER_FORM.encode()) == code_digest.of_python(SOURCE.encode())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("radius**2", "radius**3"),
        ("side: float = 1.0", "side: float = 2.0"),
        ('} m"', '} cm"'),
        ("!r:", "!s:"),
        ("def area(self)", "def area(self, unit)"),
        ("class Square", "class Cube"),
        ('log(f"radius {radius}")', "check(radius)"),
    ],
)
def test_the_logic_counts(before: str, after: str):
    assert before in SOURCE
    changed = SOURCE.replace(before, after, 1)

    assert code_digest.of_python(changed.encode()) != code_digest.of_python(SOURCE.encode())


def test_a_file_that_is_renamed_or_moved_is_the_same(tmp_path: Path):
    for name in ("one/first.py", "two/inner/second.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(SOURCE)

    assert code_digest.of_trees([tmp_path / "one"]) == code_digest.of_trees([tmp_path / "two"])


def test_presets_images_and_what_is_no_source_do_not_count(tmp_path: Path):
    (tmp_path / "program.py").write_text(SOURCE)
    before = code_digest.of_trees([tmp_path])
    for name in ("presets/own.yaml", "environment/Dockerfile", "__pycache__/program.pyc", "README.md", "pictures.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("more")

    assert code_digest.of_trees([tmp_path]) == before
    (tmp_path / "flow.yaml").write_text("more")
    assert code_digest.of_trees([tmp_path]) != before


MODULE = """
LIMIT = 3
OTHER = 4

def helper():
    return LIMIT

@decorated(OTHER)
def chosen(other_asset):
    return helper() + other_asset

def other_asset():
    return OTHER
"""


def test_a_function_reaches_what_it_names_and_not_what_its_parameters_or_decorators_name():
    reached = code_digest.reached_from(ast.parse(MODULE), "chosen")

    assert [ast.unparse(each).splitlines()[0] for each in reached] == [
        "LIMIT = 3",
        "def helper():",
        "def chosen(other_asset):",
    ]


def test_a_name_that_the_module_does_not_define_is_an_error():
    with pytest.raises(KeyError, match="absent"):
        code_digest.reached_from(ast.parse(MODULE), "absent")


def others() -> list[Path]:
    """Return the interpreters of the other supported releases that this machine has."""
    names = ("python3.11", "python3.12")
    folders = [*Path.home().glob(".pyenv/versions/3.1[12].*/bin"), Path("/usr/bin"), Path("/usr/local/bin")]
    found = [folder / name for folder in folders for name in names if (folder / name).is_file()]
    return [path for path in found if not path.name.endswith(f"{sys.version_info.minor}")]


ALL_FILES = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from phi_assets import code_digest
root = Path(sys.argv[1])
trees = ("phi_assets", "chat_code", "training_code", "evaluation_code", "serving_code", "dataset_code", "flows")
for path in sorted(path for tree in trees for path in (root / tree).rglob("*.py")):
    print(path.relative_to(root), code_digest.of_python(path.read_bytes()))
"""


@pytest.mark.skipif(not others(), reason="only one supported release of Python is installed here")
def test_all_releases_of_python_give_the_same_digests():
    given = [
        subprocess.run([str(python), "-c", ALL_FILES, str(PROJECT)], capture_output=True, text=True, check=True).stdout
        for python in (Path(sys.executable), others()[0])
    ]

    assert given[0].count("\n") > 300
    assert given[0] == given[1]
