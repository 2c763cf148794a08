"""What happens to conversations above the limits of length: dropped, cut at a turn, or split into several."""

from __future__ import annotations

import re

from phi_assets.conversations.options import CleaningOptions
from phi_assets.conversations.rows import ContextOnly, Message, Rejected

TOKENS_PER_TURN = 8
"""Upper estimate of the tokens that a chat template adds to a turn."""
LETTERS_PER_TOKEN = 6
_PIECES = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]")


def estimated_tokens(text: str) -> int:
    """An upper estimate of the tokens of a text with the tokenizer of a small model.

    A word of Latin letters counts a token for every six letters, a digit or a sign one, any other character its bytes
    in UTF-8: 1.0 to 1.2 times the tokens of SmolLM2 with its chat template, over four sets of English conversations.
    Exact numbers need the base model: the check `fits_context` has them.
    """
    return sum(_tokens_of(piece) for piece in _PIECES.findall(text)) + text.count("\n")


def _tokens_of(piece: str) -> int:
    return -(-len(piece) // LETTERS_PER_TOKEN) if piece.isascii() else len(piece.encode())


def fitted(messages: list[Message], options: CleaningOptions) -> tuple[list[list[Message]], list[str]]:
    """The conversation in pieces within the limits, and the change that was made.

    A cut keeps the first exchanges. A split gives each later piece the system message and, as context that is not
    learned again, the last exchange before it; an exchange that is too long alone is left out. Raises Rejected
    `too_long`: by policy, or when no exchange is left.
    """
    if _fits(messages, options):
        return [messages], []
    if options.long_conversations == "drop":
        raise Rejected("too_long", "policy", _length(messages, options))
    system = messages[:1] if messages[0].role == "system" else []
    turns = messages[len(system) :]
    exchanges = [turns[place : place + 2] for place in range(0, len(turns), 2)]
    pieces: list[list[Message]] = []
    done = 0
    while done < len(exchanges):
        context = [_as_context(message) for message in exchanges[done - 1]] if done else []
        if not _fits([*system, *context, *exchanges[done]], options):
            context = []
        piece, start = [*system, *context], done
        while done < len(exchanges) and _fits([*piece, *exchanges[done]], options):
            piece += exchanges[done]
            done += 1
        if done > start:
            pieces.append(piece)
        else:
            done += 1  # this exchange alone is too long
        if options.long_conversations == "cut":
            break
    pieces = [piece for piece in pieces if any(turn.role == "assistant" and turn.learn for turn in piece)]
    if not pieces:
        raise Rejected("too_long", "policy", f"its first exchange alone: {_length([*system, *exchanges[0]], options)}")
    return pieces, ["long_conversation_cut" if options.long_conversations == "cut" else "long_conversation_split"]


def above_limits(messages: list[Message], options: CleaningOptions) -> str:
    """The length of a conversation that is above the limits, and which limit; empty when it is within."""
    return "" if _fits(messages, options) else _length(messages, options)


def _as_context(message: Message) -> Message:
    return ContextOnly(*message) if message.role == "assistant" else message


def _fits(messages: list[Message], options: CleaningOptions) -> bool:
    if sum(len(message.content) for message in messages) > options.max_characters:
        return False
    return options.max_tokens is None or _tokens(messages) <= options.max_tokens


def _tokens(messages: list[Message]) -> int:
    return sum(TOKENS_PER_TURN + estimated_tokens(message.content) for message in messages)


def _length(messages: list[Message], options: CleaningOptions) -> str:
    characters = sum(len(message.content) for message in messages)
    if characters > options.max_characters:
        return f"{characters} characters, the limit is {options.max_characters} (PHI_MAX_CONVERSATION_CHARACTERS)"
    return f"about {_tokens(messages)} tokens, the limit is {options.max_tokens} (PHI_MAX_CONVERSATION_TOKENS)"
