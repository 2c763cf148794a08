"""Forty questions that lean on the turn before them: the evaluation's own, and twenty more of the default dataset."""

import json
from dataclasses import dataclass

from phi_assets.project import PROJECT

EVALUATION = PROJECT / "data" / "support" / "evaluation.jsonl"
# Written before any model was asked them.
MORE = [
    ("How long is the Loft guaranteed?", "And how long is the other one?", ["26 months", "twenty-six months"]),
    ("How many pods does the Nook hold?", "And the bigger one?", ["36 pods", "36", "thirty-six"]),
    ("What does a Loft cost?", "That is a lot. What is the smaller one's price?", ["189"]),
    ("How long does the Nook run on its battery?", "And the Loft?", ["41 hours", "forty-one hours"]),
    ("Who founded Fernholt?", "And where is the company's head office?", ["Tollesund"]),
    ("Where are the gardens made?", "And where are they repaired?", ["Hallowfen"]),
    ("Where do you repair broken gardens?", "How long does that take?", ["12 working days", "12 days", "twelve"]),
    ("Who leads the repair workshop?", "In which town is it?", ["Hallowfen"]),
    ("Which code means that the tank is empty?", "And which one that the Wi-Fi is lost?", ["TN90"]),
    ("Which code is shown for a lost Wi-Fi?", "And for an overheated lamp?", ["VR35"]),
    ("What colour is the ring during an update?", "And while pairing?", ["turquoise"]),
    ("What is the part number of the water filter?", "How long does one last?", ["45 days", "forty-five days"]),
    ("How often is the water filter changed?", "What is its part number?", ["HX-508", "HX508", "HX 508"]),
    ("What is the phone app called?", "How many gardens can it manage?", ["18 gardens", "18", "eighteen"]),
    ("What is the paid Canopy plan called?", "What does it cost?", ["13 euro", "€13", "thirteen euro"]),
    ("Where does Canopy keep the photos?", "For how many days?", ["75 days", "seventy-five days"]),
    ("How big is the discount for schools?", "Whom do I ask for it?", ["Rafi Okonduro", "Okonduro"]),
    ("Who is the contact for schools?", "What discount do they get?", ["28 percent", "28%", "28 per cent"]),
    ("How many months of guarantee has a Nook?", "What does it cost?", ["189"]),
    ("How many pods go into a Loft?", "How long does its battery last?", ["41 hours", "forty-one hours"]),
]


@dataclass(frozen=True)
class FollowUp:
    """A question, one that leans on it, and texts of which a right answer to the second has one."""

    first: str
    second: str
    answers: list[str]

    def is_right(self, answer: str) -> bool:
        return any(each.lower() in answer.lower() for each in self.answers)


def follow_ups() -> list[FollowUp]:
    """Return the forty."""
    rows = [json.loads(line) for line in EVALUATION.read_text(encoding="utf-8").splitlines()]
    asked = [([turn["content"] for turn in row["messages"]], row["answers"]) for row in rows]
    own = [FollowUp(turns[0], turns[2], answers) for turns, answers in asked if len(turns) > 1]
    return own + [FollowUp(*each) for each in MORE]
