"""Makes configuration, generation configuration and tokenizer agree on the special tokens.

Three files of a model folder name the same tokens, and each has another reader: the tokenizer pads the batches,
the configuration feeds the loss, the generation configuration stops the answers. A model stops by itself only when
the token that ends an assistant's turn is among the stops and is not the padding, which the loss leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from phi_assets.base_models.model_errors import IncompleteModel

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# In order of preference, after the tokenizer's own padding.
_PADDING_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|finetune_right_pad_id|>", "<|endoftext|>")


@dataclass(frozen=True)
class SpecialTokens:
    """Token ids on which all files of a model folder agree."""

    bos: int | None
    eos: int
    pad: int
    stops: tuple[int, ...]
    """Every token at which generation stops: the tokenizer's eos first, the end of an assistant's turn among them."""


@dataclass(frozen=True)
class RenderedChat:
    """A short conversation as the chat template renders it."""

    text: str
    turn_end: str
    """The text after the assistant's answer."""


@dataclass
class ModelSettings:
    """The JSON files of a model folder that name special tokens; changed in place by ``align_special_tokens``."""

    config: dict[str, Any]
    generation: dict[str, Any]
    tokenizer: dict[str, Any]


def align_special_tokens(settings: ModelSettings, tokenizer: Tokenizer, chat: RenderedChat) -> list[str]:
    """Make ``settings`` agree on bos, eos, pad and stops; return notes that say what was changed and why.

    Raises IncompleteModel when no choice of tokens would let the model stop by itself.
    """
    tokens = choose_special_tokens(settings, tokenizer, chat)
    stops = list(tokens.stops) if len(tokens.stops) > 1 else tokens.eos
    notes = [
        *_set(settings.config, "config.json", {"bos": tokens.bos, "eos": tokens.eos, "pad": tokens.pad}, tokenizer),
        *_set(
            settings.generation,
            "generation_config.json",
            {"bos": tokens.bos, "eos": stops, "pad": tokens.pad},
            tokenizer,
        ),
    ]
    for role, token_id in (("eos", tokens.eos), ("pad", tokens.pad)):
        text = tokenizer.id_to_token(token_id)
        if token_text(settings.tokenizer, role) != text:
            notes.append(f"the tokenizer's {role} token is now {text!r} ({token_id})")
            settings.tokenizer[f"{role}_token"] = text
    # Otherwise transformers may regenerate the generation configuration from the model configuration.
    settings.generation.pop("_from_model_config", None)
    return notes


def choose_special_tokens(settings: ModelSettings, tokenizer: Tokenizer, chat: RenderedChat) -> SpecialTokens:
    """The ids that fit the tokenizer and the chat template. Raises IncompleteModel when there are none."""
    added = {token.content: token_id for token_id, token in tokenizer.get_added_tokens_decoder().items()}
    turn_end_id = _first_added_token(chat.turn_end, tokenizer, added)
    bos = added.get(token_text(settings.tokenizer, "bos") or "")
    eos = added.get(token_text(settings.tokenizer, "eos") or "", turn_end_id)
    # A stop that is not a special token is a default of the configuration class, not set by the model's authors.
    listed = [*_ids(settings.generation.get("eos_token_id")), *_ids(settings.config.get("eos_token_id"))]
    stops = tuple(dict.fromkeys([eos, *(stop for stop in listed if stop in added.values()), turn_end_id]))
    return SpecialTokens(bos, eos, _choose_padding(settings.tokenizer, added, {*stops, bos}, chat.text), stops)


def token_text(tokenizer_config: dict[str, Any], role: str) -> str | None:
    """The text of the token with that role (bos, eos, pad, unk), which may be stored as an object."""
    token = tokenizer_config.get(f"{role}_token")
    return token.get("content") if isinstance(token, dict) else token


def _choose_padding(
    tokenizer_config: dict[str, Any], added: dict[str, int], taken: set[int | None], in_use: str
) -> int:
    own, unknown = token_text(tokenizer_config, "pad"), token_text(tokenizer_config, "unk")
    unused = [text for text in added if text not in in_use]
    candidates = [own, *_PADDING_NAMES, unknown, *unused]
    for text in candidates:
        if text in added and added[text] not in taken and (text == own or text not in in_use):
            return added[text]
    raise IncompleteModel(
        "the tokenizer has no token left for padding: each special one ends a turn or is used by the chat template, "
        "and padding with an end token would keep it out of the loss; add a special token such as <|pad|>"
    )


def _first_added_token(text: str, tokenizer: Tokenizer, added: dict[str, int]) -> int:
    ids = tokenizer.encode(text.lstrip(), add_special_tokens=False).ids
    if ids and ids[0] in added.values():
        return ids[0]
    raise IncompleteModel(
        f"the chat template ends an assistant's turn with {text[:40]!r}, which is no special token: the model could "
        f"never stop by itself; use a template that ends it with the tokenizer's eos token"
    )


def _ids(value: Any) -> list[int]:
    return [] if value is None else list(value) if isinstance(value, list) else [value]


def _set(file: dict[str, Any], name: str, wanted: dict[str, Any], tokenizer: Tokenizer) -> list[str]:
    notes: list[str] = []
    for role, value in wanted.items():
        key, old = f"{role}_token_id", file.get(f"{role}_token_id")
        if key in file and sorted(_ids(old)) != sorted(_ids(value)):
            texts = ", ".join(str(tokenizer.id_to_token(token_id)) for token_id in _ids(value)) or "none"
            notes.append(f"{name}: {key} {old} became {value} ({texts})")
        file[key] = value
    return notes
