"""The check that agent and chat flow answer alike, and the sample that it asks."""

from typing import Any

import dagster as dg

from phi_assets.backends.agent_store import MAX_TOKENS
from phi_assets.defs.chat.agent import SAMPLE, same_as_flow, spread
from phi_assets.errors import BackendError
from phi_assets.records import AgentEvaluation, FlowPackage

EVALUATION = AgentEvaluation(digest="a" * 64, address="", questions=30, share_right=1.0)
FLOW = FlowPackage(digest="f" * 64, address="")


class Stores:
    """Agent's rows, a packaged flow, and what the flow says to each question."""

    def __init__(self, flow: FlowPackage | None = FLOW, **other: str) -> None:
        self.flow, self.other = flow, other
        self.asked: list[str] = []

    def record(self, asset: str) -> FlowPackage | None:
        assert asset == "chat_flow"
        return self.flow

    def rows(self, evaluation: AgentEvaluation) -> list[dict[str, Any]]:
        assert evaluation == EVALUATION
        rows = [
            {"question": f"q{n}", "answer": f"a{n}", "error": None, "messages": [{"role": "user", "content": f"q{n}"}]}
            for n in range(30)
        ]
        return [*rows, {**rows[0], "answer": None, "error": "refused"}]

    def ask(self, package: FlowPackage, conversations: list[list[dict[str, Any]]], max_tokens: int, log: Any):
        assert (package, max_tokens) == (FLOW, MAX_TOKENS)
        self.asked = [messages[-1]["content"] for messages in conversations]
        if "broken" in self.other:
            raise BackendError(self.other["broken"])
        return [self.other.get(question, question.replace("q", "a")) for question in self.asked]


def judged(stores: Stores) -> dg.AssetCheckResult:
    check: Any = same_as_flow.node_def.compute_fn.decorated_fn  # type: ignore[union-attr]
    context = dg.build_asset_context()
    result = check(context, EVALUATION, stores, stores, stores)
    assert result.severity == dg.AssetCheckSeverity.WARN
    return result


def test_it_asks_a_sample_of_the_answered_questions_and_shows_what_differs() -> None:
    same = Stores()
    assert judged(same).passed
    assert len(same.asked) == len(set(same.asked)) == SAMPLE

    result = judged(Stores(q0="another"))
    assert not result.passed
    assert result.description
    assert "19 of 20" in result.description
    table = result.metadata["different"].value
    assert all(text in str(table) for text in ("q0", "a0", "another"))


def test_what_cannot_be_compared_warns_and_says_why() -> None:
    for stores, words in ((Stores(flow=None), "materialise chat_flow"), (Stores(broken="no endpoint"), "no endpoint")):
        result = judged(stores)
        assert not result.passed
        assert words in str(result.description)


def test_a_sample_is_spread_over_all_questions() -> None:
    rows = [{"row": number} for number in range(80)]
    assert [row["row"] for row in spread(rows, 4)] == [0, 20, 40, 60]
    assert spread(rows[:3], 4) == rows[:3]
    assert spread([], 4) == []
