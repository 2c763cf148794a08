"""The ports, read from the sources: each abstract resource with its methods, and the classes that implement it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from docs_generator.markdown import page
from phi_assets.project import PROJECT

PORTS = PROJECT / "phi_assets" / "ports"
BACKENDS = PROJECT / "phi_assets" / "backends"


def ports_page() -> str:
    """Return the reference page of all ports, a section for each file of `phi_assets/ports/`."""
    parts = []
    for path in sorted(PORTS.glob("*.py"), key=lambda path: (path.stem != "base", path.stem)):
        module = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not _is_record(node)]
        if classes:
            parts += [f"## {path.stem}", ast.get_docstring(module) or ""]
            parts += [_class(node) for node in classes]
    return page(
        "Ports",
        "A port is an abstract resource: what a backend must be able to do. Assets take the port; "
        "`phi_assets/backends/select.py` chooses the implementation. Both backends pass the same tests in "
        "`tests/contracts/`. A method that is not abstract has a default that a backend may keep.",
        *parts,
    )


def _is_record(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def _class(node: ast.ClassDef) -> str:
    implemented = [
        f"`{name}` ({path.relative_to(PROJECT)})"
        for path, name in implementations()
        if node.name in _bases_of(path, name)
    ]
    methods = [
        _method(each) for each in node.body if isinstance(each, ast.FunctionDef) and not each.name.startswith("_")
    ]
    made = f"Implemented by {', '.join(implemented)}." if implemented else ""
    return "\n\n".join(part for part in (f"### {node.name}", ast.get_docstring(node) or "", made, *methods) if part)


def _method(node: ast.FunctionDef) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if "property" in decorators:
        signature = f"{node.name}: {ast.unparse(node.returns) if node.returns else 'Any'}"
    else:
        signature = f"{node.name}({ast.unparse(node.args)}){returns}".replace("(self, ", "(").replace("(self)", "()")
    kind = "abstract" if "abstractmethod" in decorators else "has a default"
    text = ast.get_docstring(node) or ""
    return f"```python\n{signature}  # {kind}\n```\n\n{text}"


def implementations() -> Iterator[tuple[Path, str]]:
    """Yield the file and the name of every class of the backends."""
    for path in sorted(BACKENDS.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                yield path, node.name


def _bases_of(path: Path, name: str) -> set[str]:
    nodes = ast.parse(path.read_text(encoding="utf-8")).body
    (node,) = (each for each in nodes if isinstance(each, ast.ClassDef) and each.name == name)
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}
