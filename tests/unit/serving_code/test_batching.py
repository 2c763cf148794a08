"""Requests join and leave one running batch, and one that fails does not affect the others or the server."""

import asyncio
import threading

import pytest

from serving_code.batching import FEWEST_PROMPT_TOKENS, STEP_SECONDS, Batcher, PromptTokens
from serving_code.engine import Completion, Engine, Sampling
from serving_code.prompts import Message

TURNS = [Message(role="user", content="hello")]


@pytest.fixture
def batcher(endless):
    made = Batcher(endless, rows=2)
    yield made
    made.stop()


def finished(batcher: Batcher, engine: Engine, tokens: int, order: list[int]) -> threading.Event:
    """Request `tokens` tokens; sets the event and records the number when they have arrived."""
    done = threading.Event()

    def deliver(progress):
        if progress.completion:
            order.append(tokens)
            done.set()

    batcher.submit(engine.prepare(TURNS, Sampling(max_new_tokens=tokens)), deliver)
    return done


def test_a_short_request_does_not_wait_for_a_long_one_to_end(batcher, endless):
    order = []
    long = finished(batcher, endless, 400, order)
    short = finished(batcher, endless, 3, order)

    assert short.wait(60)
    assert long.wait(60)
    assert order == [3, 400]


def test_requests_beyond_the_rows_wait_and_are_all_answered(batcher, endless):
    order = []
    events = [finished(batcher, endless, tokens, order) for tokens in (20, 21, 22, 23, 24)]

    assert all(event.wait(60) for event in events)
    assert sorted(order) == [20, 21, 22, 23, 24]


def test_a_cancelled_request_frees_its_row(batcher, endless, eventually):
    tickets = [batcher.submit(endless.prepare(TURNS, Sampling(max_new_tokens=2000)), lambda _: None) for _ in range(3)]
    eventually(lambda: tickets[0].generation.produced > 2)
    for ticket in tickets:
        batcher.cancel(ticket)
    eventually(lambda: not batcher._running and not batcher._waiting)

    assert finished(batcher, endless, 2, []).wait(60)
    assert tickets[2].generation.produced == 0
    assert tickets[0].generation.produced < 2000


def test_leaving_a_stream_early_cancels_its_request(batcher, endless, eventually):
    async def read_two_pieces():
        stream = batcher.stream(endless.prepare(TURNS, Sampling(max_new_tokens=2000)))
        await anext(stream)
        await anext(stream)
        await stream.aclose()

    asyncio.run(read_two_pieces())

    eventually(lambda: not batcher._running)


def test_a_failure_in_the_model_reaches_the_request_and_the_next_is_answered(batcher, endless):
    async def ask(prompt_token):
        generation = endless.prepare(TURNS, Sampling(max_new_tokens=3))
        if prompt_token is not None:
            generation.prompt[0] = prompt_token
        return await batcher.complete(generation)

    with pytest.raises(IndexError):
        asyncio.run(ask(10**6))
    assert isinstance(asyncio.run(ask(None)), Completion)


def test_a_prompt_that_fails_leaves_the_running_answers_alone(batcher, endless, eventually):
    done = finished(batcher, endless, 200, [])
    eventually(lambda: len(batcher._running) == 1 and batcher._running[0].generation.produced > 2)
    failed = threading.Event()
    bad = endless.prepare(TURNS, Sampling())
    bad.prompt[0] = 10**6

    batcher.submit(bad, lambda progress: failed.set() if progress.error else None)

    assert failed.wait(60)
    assert done.wait(60)


def test_a_step_reads_as_much_of_prompts_as_the_machine_manages_in_its_time():
    fast, slow = PromptTokens(), PromptTokens()
    for _ in range(20):
        fast.took(0.02, 0.0)
        fast.took(0.02 + fast.now * 0.0002, float(fast.now))
        slow.took(0.1, 0.0)
        slow.took(0.1 + slow.now * 0.01, float(slow.now))

    assert fast.now == pytest.approx((STEP_SECONDS - 0.02) / 0.0002, rel=0.1)
    assert slow.now == FEWEST_PROMPT_TOKENS
