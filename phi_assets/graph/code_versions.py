"""Code versions: a hash of the logic that decides an asset's result, and of the settings that it reads.

The logic is what the asset's function reaches: statements of its own module by name, other modules by import. It ends
at BOUNDARIES, whose values count and not their code. What the chosen backend adds is declared by the resource that
makes the asset (`Port.decides`). Dagster compares the hash with that of the last materialisation.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import platformdirs

from phi_assets import code_digest, project
from phi_assets.files import atomic_write, tree_sha256
from phi_assets.graph import asset_facts, blocking_checks
from phi_assets.graph.asset_keys import name_of
from phi_assets.graph.dagster_internals import definition_line
from phi_assets.models.recipes import preset_file
from phi_assets.ports.base import Port
from phi_assets.settings import Settings

PACKAGE = "phi_assets"
CACHE = platformdirs.user_cache_path("phi-assets") / "logic.json"
MOST_CACHED = 400  # of some 20 for each state of the source
BACKENDS = f"{PACKAGE}.backends."
# Imports are not followed into these: their values count where they are read, or they decide nothing that is stored.
BOUNDARIES: dict[str, str] = {
    "phi_assets.backends": "the chosen implementation declares its modules",
    "phi_assets.ports": "interfaces",
    "phi_assets.records": "the digest counts",
    "phi_assets.settings": "the values count",
    "phi_assets.project": "says where files lie",
    "phi_assets.lock_files": "the digest counts",
    "phi_assets.graph": "decides when assets are made",
    "phi_assets.models.experiments": "reports",
    "phi_assets.lineage": "reports",
    "phi_assets.errors": "messages",
    "phi_assets.redaction": "messages",
    "phi_assets.markdown": "how texts are shown; the model card names it as a file",
    "phi_assets.plain_text": "as phi_assets.markdown",
    "phi_assets.outcome": "a type",
    "phi_assets.files": "reads and writes files",
    "phi_assets.faults": "messages",
    "phi_assets.databases": "copies of what is stored",
    "phi_assets.own_processes": "which processes end with Dagster",
    "phi_assets.child_environment": "what a child process may know",
    "phi_assets.code_digest": "decides what is made again",
    "phi_assets.sqlite_cache": "a cache",
    "phi_assets.answer_log": "stores answers",
}
PICTURES = ".metadata"  # the modules of defs/ that describe a result in Dagster's UI


@dataclass(frozen=True)
class Code:
    """What decides an asset: a function of a module, further modules, programs and files, and settings."""

    module: str
    function: str
    modules: tuple[str, ...] = ()
    programs: tuple[str, ...] = field(default=(), metadata={"doc": "folders and files, relative to the project"})
    settings: tuple[str, ...] = ()


def code_of(spec: dg.AssetSpec, resources: Mapping[str, Any]) -> Code | None:
    """Return what decides the asset; None for an asset without facts, such as one that a user adds."""
    if asset_facts.SETTINGS not in spec.metadata:
        return None
    name = name_of(spec.key)
    place = definition_line(spec)
    assert place, f"{name} has no code reference"
    module = _module_of(place[0])
    port = resources.get(asset_facts.plain(spec.metadata.get(asset_facts.PORT)))
    backend = port.decided_by(name) if isinstance(port, Port) else None
    return Code(
        module=module,
        function=_function_at(*place),
        modules=(*sorted(blocking_checks.CHECKED_IN.get(name, ())), *(backend.modules if backend else ())),
        programs=(*asset_facts.plain(spec.metadata.get(asset_facts.FILES, ())), *(backend.programs if backend else ())),
        settings=(*asset_facts.plain(spec.metadata[asset_facts.SETTINGS]), *(backend.settings if backend else ())),
    )


def of(code: Code, settings: Settings, checkout: Path | None = None) -> str:
    """Return a code version: 16 hexadecimal digits. `checkout`: another one than this, to compare with."""
    digest = hashlib.sha256()
    digest.update((_logic(code, checkout) if checkout else _known_logic(code)).encode())
    for name in sorted(code.settings):
        digest.update(f"{name}={value_of(name, settings, checkout)!r}\n".encode())
    return digest.hexdigest()[:16]


def rules_of(asset: str, settings: Settings) -> str:
    """Return a digest of the rules of an asset's blocking checks: their code, and the settings that they judge by."""
    modules = tuple(sorted(blocking_checks.CHECKED_IN.get(asset, ())))
    digest = hashlib.sha256(_known_logic_of_rules(modules).encode())
    for name in sorted(blocking_checks.RULE_SETTINGS.get(asset, ())):
        digest.update(f"{name}={value_of(name, settings)!r}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _known_logic_of_rules(modules: tuple[str, ...]) -> str:
    return _known_logic(Code(module="", function="", modules=modules))


def value_of(name: str, settings: Settings, checkout: Path | None = None) -> Any:
    """Return what counts of a setting: its value; of a preset the values that it holds, sorted by name."""
    if name != "preset":
        return getattr(settings, name)
    import yaml

    file = preset_file(settings)
    if checkout and file.is_relative_to(project.PROJECT):
        file = checkout / file.relative_to(project.PROJECT)
    if not file.is_file():
        return settings.preset
    text = file.read_text(encoding="utf-8")
    try:
        return sorted(yaml.safe_load(text).items())
    except (yaml.YAMLError, AttributeError, TypeError):
        return text  # training refuses it, with its reason


def _known_logic(code: Code) -> str:
    """Return `_logic` of the project itself, from the user's cache folder while no source file has changed.

    Most of the time of loading the definitions would go into it otherwise.
    """
    sources = [tree_sha256(project.source(tree)) for tree in (PACKAGE, *code.programs)]
    key = hashlib.sha256("\n".join((repr(code), *sources)).encode()).hexdigest()
    known = _cached()
    if key not in known:
        known[key] = _logic(code)
        with suppress(OSError):
            atomic_write(CACHE, json.dumps(dict(list(known.items())[-MOST_CACHED:])), durable=False)
    return known[key]


@cache
def _cached() -> dict[str, str]:
    try:
        return dict(json.loads(CACHE.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _logic(code: Code, checkout: Path | None = None) -> str:
    programs = code_digest.of_trees(_path(checkout, program) for program in code.programs)
    return f"{code_digest.of_digests(_digests(code, checkout))} {programs}"


def _digests(code: Code, checkout: Path | None) -> Iterator[str]:
    statements = _statements(code, checkout)
    yield code_digest.of_statements(statements)
    for module in _closure([*_imported(statements), *code.modules]) - {code.module}:
        yield code_digest.of_python(_file(checkout, module).read_bytes())


def _statements(code: Code, checkout: Path | None) -> list[ast.stmt]:
    """Return the statements of the asset's own module that its function reaches; none where there is no function."""
    if not code.module:
        return []
    return code_digest.reached_from(_parsed(_file(checkout, code.module).read_bytes()), code.function)


def _imported(statements: Iterable[ast.stmt]) -> Iterator[str]:
    known = _imports()
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known or node.module in known:
                    yield inner if inner in known else node.module


def _closure(roots: Iterable[str]) -> set[str]:
    """Return the roots and all modules that they import, directly or not, up to the boundaries.

    A module of a backend counts when it is a root: no asset imports one, so that it was declared.
    """
    known = _imports()
    reached, waiting = set[str](), [root for root in roots if root.startswith(BACKENDS) or not _is_boundary(root)]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += [each for each in known.get(module, ()) if not _is_boundary(each)]
    return reached


def _is_boundary(module: str) -> bool:
    if module.startswith(f"{PACKAGE}.defs.") and module.endswith(PICTURES):
        return True
    return any(module == each or module.startswith(f"{each}.") for each in BOUNDARIES)


@cache
def _imports() -> dict[str, frozenset[str]]:
    """Return the modules that each module of phi_assets imports, those in functions too, without type checking."""
    import grimp

    graph = grimp.build_graph(
        PACKAGE, include_external_packages=False, exclude_type_checking_imports=True, cache_dir=None
    )
    return {module: frozenset(graph.find_modules_directly_imported_by(module)) for module in graph.modules}


def _path(checkout: Path | None, path: str) -> Path:
    return checkout / path if checkout else project.source(path)


def _file(checkout: Path | None, module: str) -> Path:
    path = _path(checkout, module.replace(".", "/"))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _parsed(source: bytes) -> ast.Module:
    return ast.parse(source)


def _module_of(file: str) -> str:
    parts = Path(file).resolve().relative_to(project.PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _function_at(file: str, line: int) -> str:
    """Return the name of the top-level function whose definition, decorators included, covers the line."""
    for node in _parsed(Path(file).read_bytes()).body:
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first <= line <= (node.end_lineno or node.lineno):
                return node.name
    raise LookupError(f"{file}:{line} is not in a top-level function")
