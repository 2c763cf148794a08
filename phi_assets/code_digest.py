"""Digests of source code that change with its logic, and not with its form.

Comments, formatting, docstrings, import lines, type-checking blocks, log calls and file names do not count. The form
that is hashed is written here and not taken from `ast.dump` or `ast.unparse`, whose output differs between Python
releases: 3.11 and 3.12 give the same digests.
"""

import ast
import copy
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from phi_assets.files import ENVIRONMENT, file_sha256, source_files

LOGGERS = frozenset({"log", "_log", "LOG", "_LOG", "logger", "_logger", "LOGGER", "say", "event"})
"""Functions that log, and owners of methods that do; `event` is that of the server's structured log."""
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
# Fields that say how something was written, and fields that only one of the releases has.
IGNORED = frozenset({"ctx", "kind", "type_comment", "type_params", "type_ignores", "lineno", "simple"})
NOT_LOGIC = frozenset({ENVIRONMENT, "presets", "pictures.py"})
"""What lies with a program and does not decide its result: its image, which has its own digest; presets, of which the
values in use count; and pictures of the result."""

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def of_files(paths: Iterable[Path]) -> str:
    """Return the SHA-256 (hex) of a set of files: Python files by their logic, others by their bytes."""
    return of_digests(of_python(path.read_bytes()) if path.suffix == ".py" else file_sha256(path) for path in paths)


def of_trees(trees: Iterable[Path]) -> str:
    """Return `of_files` of the source files in the trees; a tree may be a single file."""
    return of_files(path for tree in trees for path in source_files(tree, NOT_LOGIC))


def of_digests(digests: Iterable[str]) -> str:
    """Return the SHA-256 (hex) of digests in any order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


@lru_cache(maxsize=4096)
def of_python(source: bytes) -> str:
    """Return the SHA-256 (hex) of a module's logic. Raises SyntaxError."""
    return of_statements(ast.parse(source).body)


def of_statements(statements: Iterable[ast.stmt]) -> str:
    """Return the SHA-256 (hex) of the logic of statements, in their order."""
    text: list[str] = []
    for statement in _logic(list(statements)):
        _write(statement, text)
    return hashlib.sha256("".join(text).encode()).hexdigest()


def _logic(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a block that count."""
    return [statement for statement in body if not _is_form(statement)]


def _is_form(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Import | ast.ImportFrom | ast.Pass):
        return True
    if isinstance(statement, ast.If):
        return isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"
    if not isinstance(statement, ast.Expr):
        return False
    value = statement.value
    if isinstance(value, ast.Constant):  # a docstring, of a module, class, function or attribute; or `...`
        return True
    return isinstance(value, ast.Call) and _is_log_call(value.func)


def _is_log_call(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in LOGGERS
    if not isinstance(function, ast.Attribute):
        return False
    owner = function.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return function.attr in LOGGERS or (function.attr in LEVELS and name in LOGGERS)


@lru_cache(maxsize=256)
def _fields(kind: type[ast.AST]) -> tuple[tuple[str, str], ...]:
    """Return the fields of a kind of node that count, each with the text before its value."""
    return tuple((name, f" {name}=") for name in kind._fields if name not in IGNORED)


def _write(node: object, text: list[str]) -> None:
    if isinstance(node, ast.Name):  # the most frequent two, without their context and kind
        text.append(f"(Name {node.id})")
    elif isinstance(node, ast.Constant):
        text.append(f"({type(node.value).__name__}:{node.value!r})")
    elif isinstance(node, ast.JoinedStr):
        _write_f_string(node, text)
    elif isinstance(node, ast.AST):
        text.append(f"({type(node).__name__}")
        for name, before in _fields(type(node)):
            value = getattr(node, name, None)
            if value is None or value == []:
                continue
            text.append(before)
            if type(value) is str:
                text.append(repr(value))
            else:
                _write(value, text)
        text.append(")")
    elif isinstance(node, list):
        text.append("[")
        for item in _logic(node) if isinstance(node[0], ast.stmt) else node:
            _write(item, text)
            text.append(",")
        text.append("]")
    else:
        text.append(f"{type(node).__name__}:{node!r}")


def _write_f_string(node: ast.JoinedStr, text: list[str]) -> None:
    """Write an f-string with adjacent constants as one: releases of Python divide them differently."""
    text.append("(JoinedStr ")
    constant = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            constant += str(part.value)
            continue
        text.append(repr(constant))
        constant = ""
        _write(part, text)
    text.append(f"{constant!r})")


def reached_from(module: ast.Module, name: str) -> list[ast.stmt]:
    """Return the top-level statements of a module that the function or class `name` uses, in their order.

    The decorators of `name` itself do not count: they describe an asset. Raises KeyError when the module does not
    define the name.
    """
    body = [_undecorated(statement) if _names_defined(statement) == [name] else statement for statement in module.body]
    defining: dict[str, list[ast.stmt]] = {}
    for statement in body:
        for defined in _names_defined(statement):
            defining.setdefault(defined, []).append(statement)
    if name not in defining:
        raise KeyError(name)
    wanted, reached = [name], set[int]()
    while wanted:
        for statement in defining.get(wanted.pop(), ()):
            if id(statement) not in reached:
                reached.add(id(statement))
                wanted += _names_used(statement)
    return [statement for statement in body if id(statement) in reached]


def _undecorated(statement: ast.stmt) -> ast.stmt:
    if not isinstance(statement, ast.FunctionDef):
        return statement
    plain = copy.copy(statement)
    plain.decorator_list = []
    return plain


def _names_used(statement: ast.stmt) -> set[str]:
    """Return the names that a statement reads, without the parameters of functions in it."""
    nodes = list(ast.walk(statement))
    parameters = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return {node.id for node in nodes if isinstance(node, ast.Name)} - parameters


def _names_defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, _Definition):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.partition(".")[0] for alias in statement.names]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
