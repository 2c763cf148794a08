"""What a chat template puts around each turn, found by rendering it; proven by rendering other conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOLD, ASKED, ANSWERED = "\ue000", "\ue001", "\ue002"  # no template has these characters
Conversation = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class ChatFormat:
    """The text before and after each role's content, and before an answer. `default_system` is the template's own."""

    around: Mapping[str, tuple[str, str]]
    answer: str
    default_system: str

    def render(self, conversation: Conversation) -> str:
        """The prompt of a conversation, ready for the answer."""
        turns = list(conversation)
        if self.default_system and turns[0]["role"] != "system":
            turns.insert(0, {"role": "system", "content": self.default_system})
        parts = [self.around[turn["role"]][0] + turn["content"] + self.around[turn["role"]][1] for turn in turns]
        return "".join(parts) + self.answer


def chat_format(tokenizer: Any) -> ChatFormat | None:
    """The format of the tokenizer's chat template; None when the template does more than put text around turns."""
    from jinja2 import TemplateError

    try:
        expected = [_rendered(tokenizer, each) for each in _PROBES]
        for found in _candidates(tokenizer):
            if [found.render(each) for each in _PROBES] == expected:
                return found
    except (TemplateError, ValueError, TypeError):
        pass
    return None


def _candidates(tokenizer: Any) -> Iterator[ChatFormat]:
    """Formats that may be the template's: a rendered text does not show where a turn ends and the next one begins."""
    user, system, assistant = _turns(("user", ASKED), ("system", TOLD), ("assistant", ANSWERED))
    before_system, _, rest = _rendered(tokenizer, [system, user]).partition(TOLD)
    after_system, _, _ = rest.partition(ASKED)
    _, _, rest = _rendered(tokenizer, [user, assistant, user]).partition(ANSWERED)
    after_answer, _, end = rest.partition(ASKED)
    begins, _, unanswered = _rendered(tokenizer, [user], answer=False).partition(ASKED)
    finished = _rendered(tokenizer, [user, assistant], answer=False).rpartition(ANSWERED)[2]
    eos = tokenizer.eos_token or ""  # some templates put it after the last turn, also where it ends no turn
    for user_end in (unanswered, unanswered.removesuffix(eos)):
        for user_start in (
            begins,
            after_answer.removeprefix(finished),
            after_answer.removeprefix(finished.removesuffix(eos)),
        ):
            system_end, answer = after_system.removesuffix(user_start), end.removeprefix(user_end)
            default = begins.removesuffix(user_start)
            yield ChatFormat(
                around={
                    "system": (before_system, system_end),
                    "user": (user_start, user_end),
                    "assistant": (answer, after_answer.removesuffix(user_start)),
                },
                answer=answer,
                default_system=default.removeprefix(before_system).removesuffix(system_end),
            )


def _rendered(tokenizer: Any, conversation: Conversation, *, answer: bool = True) -> str:
    return str(tokenizer.apply_chat_template(list(conversation), tokenize=False, add_generation_prompt=answer))


def _turns(*pairs: tuple[str, str]) -> Conversation:
    return [{"role": role, "content": content} for role, content in pairs]


_PROBES: tuple[Conversation, ...] = (
    _turns(("user", "Hello")),
    _turns(("system", "Be brief."), ("user", "Hello")),
    _turns(("user", "A"), ("assistant", "B"), ("user", "C\n\nD")),
    _turns(("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"), ("assistant", "D"), ("user", "E")),
)
