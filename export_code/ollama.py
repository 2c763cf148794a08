"""The Modelfile from which `ollama create` makes a model that answers as the endpoint does."""

from __future__ import annotations

from export_code.chat_format import ChatFormat
from export_code.model_source import Source

QUOTES = '"""'


def modelfile(file: str, source: Source) -> str:
    """The content of a Modelfile for the GGUF file of that name, in the same folder."""
    parts = [f"FROM ./{file}"]
    template = _template(source.format) if source.format else None
    if source.format and template is not None:
        parts.append(f"TEMPLATE {QUOTES}{template}{QUOTES}")
        if source.format.default_system:
            parts.append(f"SYSTEM {QUOTES}{source.format.default_system}{QUOTES}")
    # Ollama's own defaults are a temperature of 0.8 and a penalty for repeating; the endpoint has neither.
    parts += ["PARAMETER temperature 0", "PARAMETER repeat_penalty 1"]
    parts.append(f"PARAMETER num_ctx {source.architecture.served_context}")
    parts += [f'PARAMETER stop "{stop}"' for stop in source.stops if '"' not in stop]
    return "\n".join(parts) + "\n"


def _template(format: ChatFormat) -> str | None:
    """The chat format as a Go template; None when its text would mean something else to Go or to Ollama."""
    texts = [text for around in format.around.values() for text in around]
    if any("{{" in text or QUOTES in text for text in (*texts, format.answer, format.default_system)):
        return None
    branches = "{{ else ".join(
        f'if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}' for role, (before, after) in format.around.items()
    )
    return f"{{{{ range .Messages }}}}{{{{ {branches}{{{{ end }}}}{{{{ end }}}}{format.answer}"
