"""llama.cpp's name for the way in which a byte-level tokenizer splits text before it merges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from export_code.errors import CannotExport

_LETTER_CASES = (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]")
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
# The pattern that OpenAI's tiktoken calls o200k_base; Phi-4-mini has it.
O200K = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTER_CASES[0]}*{_LETTER_CASES[1]}+{_CONTRACTIONS}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_LETTER_CASES[0]}+{_LETTER_CASES[1]}*{_CONTRACTIONS}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)


def pre_tokenizer_name(tokenizer: Mapping[str, Any], where: str) -> str:
    """The name that makes llama.cpp split as `tokenizer` does. Raises CannotExport for an unknown way."""
    steps = _steps(tokenizer.get("pre_tokenizer"))
    kinds = [step.get("type") for step in steps]
    last = steps[-1] if steps else {}
    plain = tokenizer.get("normalizer") is None and last.get("type") == "ByteLevel" and not last.get("add_prefix_space")
    if plain and last.get("use_regex", True):
        if kinds == ["ByteLevel"]:
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and steps[0].get("individual_digits"):
            return "smollm"
    if plain and not last.get("use_regex", True) and kinds == ["Split", "ByteLevel"]:
        pattern = (steps[0].get("pattern") or {}).get("Regex")
        if pattern == O200K and steps[0].get("behavior") in ("Isolated", "Removed"):
            return "gpt-4o"
    raise CannotExport(
        f"{where} splits text by {', '.join(map(str, kinds)) or 'nothing'}, which is none of gpt-2, smollm and gpt-4o: "
        "llama.cpp would split otherwise; export with --format safetensors and use llama.cpp's own converter"
    )


def _steps(splitter: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if splitter is None:
        return []
    return list(splitter["pretokenizers"]) if splitter.get("type") == "Sequence" else [splitter]
