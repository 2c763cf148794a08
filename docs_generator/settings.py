"""Every setting, from `phi_assets.settings.Settings`: the reference page, and `.env.example`."""

from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from docs_generator.markdown import page, table
from phi_assets.project import PROJECT
from phi_assets.settings import AUTO, NEEDED_ON_AZURE, PREFIX, SECRETS, Settings

EXAMPLE = PROJECT / ".env.example"
AZURE = "azure_"
HEAD = """\
# Copy to .env and change what you need; every line shows the default.
# A variable of the process environment overrides the one here.
"""
AZURE_HEAD = "# --- With PHI_BACKEND=azure only; the first three are needed, and `az login` ---\n"
BOUNDS: dict[type, str] = {
    annotated_types.Gt: "above",
    annotated_types.Ge: "at least",
    annotated_types.Lt: "below",
    annotated_types.Le: "at most",
}
TYPES = {int: "a whole number", float: "a number", bool: "true or false"}


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def default(field: FieldInfo) -> str:
    """Return the default as it is written in `.env`; empty for none."""
    value: Any = field.default
    if value is None or value == {} or value == frozenset():
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    written = ",".join(value) if isinstance(value, tuple) else str(value)
    return written.removeprefix(f"{PROJECT}/")


def allowed(name: str, field: FieldInfo) -> str:
    """Return what a value may be: the choices, or the type and its bounds; empty for any text."""
    kind: Any = field.annotation
    options = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is Literal:
        choices = [*options, *(["auto"] if name in AUTO["local"] and "auto" not in options else [])]
        return ", ".join(f"`{choice}`" for choice in choices[:-1]) + f" or `{choices[-1]}`"
    plain = kind if isinstance(kind, type) else options[0]
    bounds = [f"{BOUNDS[type(bound)]} {_limit(bound)}" for bound in field.metadata if type(bound) in BOUNDS]
    return ", ".join(part for part in (TYPES.get(plain, ""), *bounds) if part)


def description(name: str, field: FieldInfo) -> str:
    """Return the description, without the `Azure:` that the section says."""
    text = str(field.description)
    return text.removeprefix("Azure: ") if name.startswith(AZURE) else text


def env_example() -> str:
    """Return the text of `.env.example`: every setting with its description and default, commented out."""
    lines = [HEAD]
    for name, field in sorted(Settings.model_fields.items(), key=lambda item: item[0].startswith(AZURE)):
        if name == NEEDED_ON_AZURE[0]:
            lines.append(AZURE_HEAD)
        lines.append(f"# {_sentence(description(name, field))}\n# {variable(name)}={default(field)}\n")
    return "\n".join(lines)


def settings_page() -> str:
    """Return the reference page of all settings."""
    everywhere = {name: field for name, field in Settings.model_fields.items() if not name.startswith(AZURE)}
    on_azure = {name: field for name, field in Settings.model_fields.items() if name.startswith(AZURE)}
    return page(
        "Settings",
        "A setting is a variable of the process environment, or a line of a file `.env` in the project's folder; the "
        "process environment wins. `.env.example` has every setting with its default: copy it. An unknown variable "
        "that begins with `PHI_` is an error that names the nearest setting, and so is a value that is not allowed. "
        "An empty variable counts as not set.",
        "## On a laptop and on Azure",
        _table(everywhere),
        "## On Azure only",
        f"{', '.join(f'`{variable(name)}`' for name in NEEDED_ON_AZURE)} are required with `PHI_BACKEND=azure`; the "
        "others have a default.",
        _table(on_azure),
        "## What `auto` means",
        table(
            ("variable", "on a laptop", "on Azure"),
            [
                (f"`{variable(name)}`", f"`{value}`", f"`{AUTO['azure'][name]}`")
                for name, value in AUTO["local"].items()
            ],
        ),
        "## Secrets",
        f"{', '.join(f'`{variable(name)}`' for name in sorted(SECRETS))} is a secret: its value is in no log, page, "
        "record or error message.",
    )


def _table(fields: dict[str, FieldInfo]) -> str:
    rows = []
    for name, field in fields.items():
        value = f"`{default(field)}`" if default(field) else ""
        may_be = f" ({allowed(name, field)})" if allowed(name, field) else ""
        rows.append((f"`{variable(name)}`", value, f"{description(name, field)}{may_be}"))
    return table(("variable", "default", "what it is, and what it may be"), rows)


def _limit(bound: Any) -> str:
    (value,) = (getattr(bound, name) for name in ("gt", "ge", "lt", "le") if hasattr(bound, name))
    return f"{value:g}"


def _sentence(text: str) -> str:
    """Capitalise the first word, unless it is a value such as `pypi:`."""
    return text if ":" in text.split()[0] else text[0].upper() + text[1:]
