"""Varies questions as users write them: with greetings, thanks, in haste, and with typing errors."""

from random import Random

GREETINGS = ("Hi!", "Hello.", "Good morning.", "Hey!", "Quick question.", "Hello there!", "One thing.", "Good evening!")
CLOSINGS = ("Thanks!", "Thank you.", "Thanks in advance.", "Many thanks!")
CHANGES_OF_SUBJECT = ("", "", "Something else.", "Another question.", "One more thing.", "Next question.")
# Weights among all questions; most are plain.
REGISTERS = {"plain": 58, "greeting": 14, "closing": 8, "hasty": 10, "slip": 10}


def as_someone_would_write(question: str, rng: Random, *, first: bool) -> str:
    """Return the question in a register drawn by `rng`; greetings occur only in the `first` turn of a conversation."""
    (register,) = rng.choices(list(REGISTERS), weights=list(REGISTERS.values()))
    if register == "greeting" and first:
        return f"{rng.choice(GREETINGS)} {question[0].upper()}{question[1:]}"
    if register == "closing":
        return f"{question} {rng.choice(CLOSINGS)}"
    if register == "hasty":
        return question.lower().rstrip("?.")
    if register == "slip":
        return with_a_slip(question, rng)
    return question


def with_a_slip(text: str, rng: Random) -> str:
    """Swap two neighbouring letters inside one lower-case word of five letters or more, if there is one."""
    words = text.split(" ")
    long_words = [i for i, word in enumerate(words) if len(word) > 4 and word.isalpha() and word.islower()]
    if not long_words:
        return text
    chosen = rng.choice(long_words)
    word = words[chosen]
    at = rng.randrange(1, len(word) - 2)
    words[chosen] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)
