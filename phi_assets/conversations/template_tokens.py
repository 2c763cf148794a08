"""Finds the control tokens of chat templates in content, where a model could read them as the end of a turn."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"<\|[A-Za-z0-9_.:/-]+\|>"  # ChatML, Llama 3, Phi, Qwen, GPT: <|im_start|>, <|eot_id|>, <|end|>, <|endoftext|>
    r"|<\uff5c[^\uff5c\n]{1,40}\uff5c>"  # DeepSeek, with full-width bars
    r"|</?s>|<unk>|<bos>|<eos>"  # SentencePiece models
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"  # Llama 2, Mistral
    r"|<(?:start|end)_of_turn>"  # Gemma
)
_STRUCK = ("<s>", "</s>")  # a struck-out text in HTML too
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_TAG = re.compile(r"</?(?!s>)[A-Za-z][A-Za-z0-9]{0,15}(?:\s+[A-Za-z-]+\s*=[^<>]*)?\s*/?>")
_OTHER = ("<unk>", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")


def find_template_token(text: str) -> str:
    """The first control token in the text; empty when there is none.

    `<s>` in HTML strikes out a text: it is none in code, among other tags, or around a part of the text. A base model
    for which it is one is found by the check `fits_context`, which knows the model.
    """
    if "<" not in text and "[" not in text:
        return ""
    found = [match[0] for match in _TOKEN.finditer(text)]
    if not found or (set(found) <= set(_STRUCK) and _is_html(text)):
        return ""
    return found[0]


def _is_html(text: str) -> bool:
    prose = _CODE.sub("", text)
    if not any(mark in prose for mark in _STRUCK):
        return True
    if any(match[0] not in _OTHER for match in _TAG.finditer(prose)):
        return True
    whole = text.strip()
    around = whole.startswith("<s>") and whole.endswith("</s>") and whole.count("<s>") == 1
    return not around and prose.count("<s>") == prose.count("</s>") and prose.index("<s>") < prose.index("</s>")
