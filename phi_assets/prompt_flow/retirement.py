"""When Microsoft retires Prompt flow, and from when on a check warns of it."""

import datetime as dt

ON = dt.date(2027, 4, 20)
"""Prompt flow becomes read-only, and its images and extensions are no longer available."""
WARN_FROM = dt.date(2027, 1, 20)
SOURCE = "https://learn.microsoft.com/azure/machine-learning/prompt-flow/migrate-prompt-flow-to-agent-framework"
INSTEAD = "Microsoft Agent Framework: docs/how-to/leave-prompt-flow.md says what goes where"


def judged(today: dt.date) -> tuple[bool, str]:
    """Return whether there is time left on this day, and a sentence with the date and what to do."""
    if today >= ON:
        return False, f"Prompt flow was retired on {ON} ({SOURCE}); use {INSTEAD}"
    days = f"Prompt flow is retired on {ON}, in {(ON - today).days} days ({SOURCE})"
    return today < WARN_FROM, days if today < WARN_FROM else f"{days}; use {INSTEAD}"
