"""A copy of the product's source that a test changes: in its logic, or only in its form."""

import ast
import shutil
from pathlib import Path

from phi_assets.project import PROJECT

TREES = (
    "phi_assets",
    "chat_code",
    "dataset_code",
    "training_code",
    "evaluation_code",
    "quantization_code",
    "serving_code",
    "flows",
    "infra",
)


def copy_of_the_product(folder: Path) -> Path:
    for tree in TREES:
        shutil.copytree(PROJECT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "README.md", folder)
    return folder


def product_files(project: Path) -> list[str]:
    """Return every file of the product's trees; an __init__.py with no more than a docstring has no logic."""
    paths = [path for tree in TREES for path in sorted((project / tree).rglob("*")) if path.is_file()]
    bare = [path for path in paths if path.name == "__init__.py" and len(ast.parse(path.read_bytes()).body) < 2]
    return [path.relative_to(project).as_posix() for path in paths if path not in bare]


def with_more_logic(file: Path) -> bytes:
    """Return the file's content with a statement more in the module and in each of its functions."""
    if file.suffix != ".py":
        return file.read_bytes() + b"\n"
    tree = ast.parse(file.read_bytes())
    more = ast.parse("changed = 1").body
    for node in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))]:
        node.body = [*node.body, *more]
    return ast.unparse(tree).encode()


FORM = "'''Another text.'''\nimport string as text\nlog(1)\n_LOG.info(2)"


def in_another_form(file: Path) -> bytes:
    """Return the file's content in other words: formatted anew, with comments, docstrings, imports and log calls."""
    if file.suffix != ".py":
        return file.read_bytes()
    tree = ast.parse(file.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [*ast.parse(FORM).body, *node.body]
    return f"# A comment.\n{ast.unparse(ast.fix_missing_locations(tree))}\n# Another.\n".encode()
