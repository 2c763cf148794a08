"""A trained model as llama.cpp has to know it, read from its folder; and what llama.cpp will do otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export_code.architecture import Architecture, architecture_of
from export_code.chat_format import ChatFormat, chat_format
from export_code.errors import CannotExport
from export_code.model_files import chat_template, read_json
from export_code.vocabulary import Vocabulary, vocabulary_of

# llama.cpp sets this for a model by its name, and for these tokens of it only.
RSTRIP_NAMES, NEVER_STRIPPED = ("phi-3", "phi3"), frozenset({"<unk>", "<s>", "<|endoftext|>"})


@dataclass(frozen=True)
class Source:
    """A model folder, read except for its weights."""

    architecture: Architecture
    vocabulary: Vocabulary
    template: str
    format: ChatFormat | None
    special: Mapping[str, int]
    """Token ids by role: bos, eos, eot, unk, pad."""
    stops: tuple[str, ...]


def read_source(folder: Path) -> Source:
    """Read the folder. Raises CannotExport when it is no model that llama.cpp would run as it was trained."""
    from transformers import AutoTokenizer

    config = read_json(folder / "config.json")
    architecture = architecture_of(config, str(folder / "config.json"))
    vocabulary = vocabulary_of(
        read_json(folder / "tokenizer.json"), architecture.vocabulary, str(folder / "tokenizer.json")
    )
    template = chat_template(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, clean_up_tokenization_spaces=False)
    format = chat_format(tokenizer)
    generation = read_json(folder / "generation_config.json")
    listed = generation.get("eos_token_id")
    ends = [listed] if isinstance(listed, int) else list(listed or ())
    roles = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "unk", "pad")}
    if roles["eos"] is None:
        raise CannotExport(f"{folder / 'tokenizer_config.json'} names no eos token; train the model again")
    roles["eot"] = _end_of_turn(format, vocabulary)
    stops = tuple(vocabulary.tokens[number] for number in dict.fromkeys([roles["eos"], *ends]))
    return Source(
        architecture, vocabulary, template, format, {role: ID for role, ID in roles.items() if ID is not None}, stops
    )


def _end_of_turn(format: ChatFormat | None, vocabulary: Vocabulary) -> int | None:
    end = format.around["assistant"][1] if format else ""
    return next((number for text, number in vocabulary.added.items() if text and end.startswith(text)), None)


def differences(source: Source) -> list[str]:
    """What llama.cpp does otherwise than the endpoint, a sentence each."""
    window = source.architecture.window
    found = []
    if window:
        found.append(
            f"The model attends to the last {window:,} tokens; llama.cpp lets it attend to all, so that answers in "
            "longer conversations differ from the endpoint's."
        )
    if not _strips_as_named(source.vocabulary):
        found.append(
            "White space right after a control token is part of the text in llama.cpp, and is dropped by the endpoint."
        )
    found.append(
        "A control token in a user's text is a control token in llama.cpp's and Ollama's chat; the endpoint reads it "
        "as text."
    )
    return found


def _strips_as_named(vocabulary: Vocabulary) -> bool:
    """Whether a name can make llama.cpp drop white space after the same tokens as the tokenizer does."""
    expected = frozenset(vocabulary.added) - NEVER_STRIPPED
    return vocabulary.strips_right in (frozenset(), expected)


def model_name(name: str, vocabulary: Vocabulary) -> str:
    """The name for the file: llama.cpp drops white space after control tokens of models that are named Phi-3."""
    named = any(each in name.lower() for each in RSTRIP_NAMES)
    wanted = bool(vocabulary.strips_right) and _strips_as_named(vocabulary)
    if wanted and not named:
        return f"{name} (Phi-3)"
    if named and not wanted:
        raise CannotExport(
            f"a model named {name!r} is tokenised by llama.cpp as one with Phi-3's tokenizer, and this one has "
            "another: give a name without Phi-3"
        )
    return name
