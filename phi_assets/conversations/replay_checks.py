"""Whether replayed conversations give away the general questions."""

from pathlib import Path

from evaluation_code.apart import Apart
from evaluation_code.inputs import InputError, read_conversations, read_questions
from phi_assets.outcome import CheckOutcome

ROWS = "replay.jsonl"


def apart(folder: Path, general: Path | None) -> CheckOutcome:
    """Passes when no conversation of the set in `folder` shares an answer or a question with the general questions.

    An empty set warns: training then replays nothing.
    """
    rows = folder / ROWS
    try:
        questions = read_questions(general)
        conversations = read_conversations(rows) if rows.stat().st_size else []
    except (InputError, OSError) as e:
        return CheckOutcome(False, f"what is replayed cannot be compared with the general questions: {e}")
    finder = Apart(questions)
    found = [
        f"line {number} {reason}"
        for number, messages in enumerate(conversations, start=1)
        if (reason := finder.conflict(messages))
    ]
    numbers = {"conversations": len(conversations), "shared": len(found)}
    if not conversations:
        described = (
            "nothing is replayed, so training may forget more; the log of replay_conversations says what was left out"
        )
        return CheckOutcome(True, described, numbers, warning=True)
    if not found:
        return CheckOutcome(
            True,
            f"none of {len(conversations)} shares an answer or a question with {len(questions)} questions",
            numbers,
        )
    remedy = "materialise replay_conversations again"
    return CheckOutcome(
        False, f"{len(found)} of {len(conversations)}: {'; '.join(found[:5])}. {remedy}", numbers, remedy
    )
