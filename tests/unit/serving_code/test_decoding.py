"""The batch computes what the model computes alone: prompts in pieces, rows of any length, and stored prefixes."""

import itertools

import pytest
import torch

from serving_code.decoding import DecodingBatch
from serving_code.engine import Engine, Sampling
from serving_code.model_folder import UnusableModel, load_model_folder
from serving_code.prefix_cache import PrefixCache
from tests.unit.serving_code.conftest import write_model


def ids(length: int, seed: int = 0) -> list[int]:
    return torch.randint(10, 500, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.fixture(scope="module")
def plain(lively_model):
    """The same model with transformers' own attention."""
    return load_model_folder(lively_model, "float32").model


def small_engine(folder) -> Engine:
    """An engine with memory for 1,024 tokens: two layers, keys and values, of so many heads of 16 numbers."""
    loaded = load_model_folder(folder, "float32")
    per_token = 2 * 2 * 4 * 16 * loaded.model.config.num_key_value_heads
    engine = Engine(loaded, kv_bytes=1024 * per_token)
    assert (engine.kv_tokens, engine.context_length) == (1024, 1024)
    return engine


def run(batch: DecodingBatch, prompt_tokens: int = 64) -> None:
    while batch.rows:
        batch.step(prompt_tokens)


@pytest.mark.parametrize("prompt_tokens", [1, 7, 64, 4096])
def test_log_probabilities_are_those_of_an_unbatched_forward_however_the_prompt_is_cut(lively, plain, prompt_tokens):
    prompts = [ids(length, seed) for seed, length in enumerate((3, 300, 70, 600, 255, 256, 40))]
    generations = [lively.generation(prompt, Sampling(max_new_tokens=6, logprobs=5)) for prompt in prompts]
    if prompt_tokens == 1:
        generations = generations[:3]
    batch = lively.new_batch()
    batch.admit(generations[:2])
    batch.step(prompt_tokens)
    batch.admit(generations[2:])
    run(batch, prompt_tokens)

    for generation in generations:
        text = torch.tensor([generation.prompt + generation.output])
        with torch.inference_mode():
            expected = torch.log_softmax(plain(input_ids=text).logits[0].float(), dim=-1)
        for at, choice in enumerate(generation.choices):
            place = len(generation.prompt) + at - 1
            assert choice.logprob == pytest.approx(float(expected[place, choice.token]), abs=1e-3)
            assert [pair[1] for pair in choice.top] == pytest.approx(expected[place].topk(5).values.tolist(), abs=1e-3)


def test_a_sliding_window_is_seen_by_pieces_and_by_rows(tmp_path):
    import json

    folder = write_model(tmp_path, scale=15.0)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sliding_window": 40}))
    plain, engine = load_model_folder(folder, "float32").model, Engine.load(folder, dtype="float32")
    generations = [engine.generation(ids(length), Sampling(max_new_tokens=8, logprobs=1)) for length in (30, 100, 10)]
    batch = engine.new_batch()
    batch.admit(generations)
    run(batch, 32)

    for generation in generations:
        with torch.inference_mode():
            logits = plain(input_ids=torch.tensor([generation.prompt + generation.output])).logits[0]
        expected = torch.log_softmax(logits.float(), dim=-1)
        for at, choice in enumerate(generation.choices):
            place = len(generation.prompt) + at - 1
            assert choice.logprob == pytest.approx(float(expected[place, choice.token]), abs=1e-3)


def test_a_long_prompt_is_read_between_the_steps_of_others_and_short_ones_pass_it(lively):
    running = lively.generation(ids(5), Sampling(max_new_tokens=200, logit_bias=((2, -100.0),)))
    batch = lively.new_batch()
    batch.admit([running])
    batch.step()
    long = lively.generation(ids(1000), Sampling(max_new_tokens=2))
    batch.admit([long])
    batch.step(100)
    short = lively.generation(ids(20), Sampling(max_new_tokens=2))
    batch.admit([short])
    batch.step(100)

    assert running.produced == 3
    assert short.produced == 1
    assert long.produced == 0
    assert 900 - 80 <= long.unread < 900


@pytest.mark.parametrize("prompt_tokens", [1, 64, 100, 333])
def test_every_step_reads_something_of_a_prompt_to_its_end(lively, prompt_tokens):
    long = lively.generation(ids(1500 if prompt_tokens > 1 else 200), Sampling(max_new_tokens=1))
    batch = lively.new_batch()
    batch.admit([long])
    left = [long.unread]
    while batch.rows:
        batch.step(prompt_tokens)
        left.append(long.unread if long.row else 0)

    assert all(sooner > later for sooner, later in itertools.pairwise(left))


def test_answers_that_end_give_their_memory_back(lively):
    batch = lively.new_batch()
    generations = [lively.generation(ids(300, seed), Sampling(max_new_tokens=4 + seed)) for seed in range(20)]
    batch.admit(generations)
    batch.step(10_000)
    most = batch.store.nbytes()
    for generation in generations[:17]:
        batch.discard(generation)

    assert batch.store.nbytes() < most / 4
    run(batch)
    assert batch.store.nbytes() == 0
    assert batch.reserved() == 0


def test_rows_are_admitted_while_their_longest_answers_fit(lively_model):
    engine = small_engine(lively_model)
    batch = engine.new_batch()
    small, large = (engine.generation(ids(10), Sampling(max_new_tokens=most)) for most in (100, 900))
    for _ in range(4):
        assert batch.fits(small)
        batch.admit([engine.generation(ids(10), Sampling(max_new_tokens=100))])

    assert not batch.fits(small)
    run(batch)
    assert batch.fits(large)
    batch.admit([large])
    assert not batch.fits(small)


@pytest.fixture
def cached(lively):
    prefixes = PrefixCache(10_000)
    return prefixes, lively.new_batch(prefixes)


def answer(engine: Engine, batch: DecodingBatch, prompt: list[int], caller: str | None = "ann"):
    generation = engine.generation(prompt, Sampling(max_new_tokens=12, logprobs=0), caller=caller)
    batch.admit([generation])
    run(batch)
    return generation


def test_the_next_turn_reads_only_what_is_new_and_answers_the_same(lively, cached):
    _, batch = cached
    first = answer(lively, batch, ids(400))
    talk = [*first.prompt, *first.output, *ids(30, 7)]

    second = answer(lively, batch, talk)
    alone = answer(lively, lively.new_batch(), talk)

    assert second.cached_tokens == len(first.prompt) + len(first.output) - 1
    assert second.output == alone.output
    assert [each.logprob for each in second.choices] == pytest.approx([e.logprob for e in alone.choices], abs=1e-3)


def test_a_system_prompt_is_read_once_for_two_that_run_together(lively, cached):
    _, batch = cached
    system = ids(300)
    pair = [lively.generation([*system, *ids(20, seed)], Sampling(max_new_tokens=5), caller="ann") for seed in (1, 2)]
    batch.admit(pair[:1])
    batch.step(1000)
    batch.admit(pair[1:])
    run(batch)

    assert pair[1].cached_tokens == 300
    assert pair[1].output == answer(lively, lively.new_batch(), pair[1].prompt).output[:5]


def test_the_same_prompt_again_reads_its_last_token_only(lively, cached):
    _, batch = cached
    first, again = (answer(lively, batch, ids(400)) for _ in range(2))

    assert again.cached_tokens == 399
    assert again.output == first.output


def test_another_caller_finds_nothing_and_without_a_caller_nothing_is_stored(lively, cached):
    prefixes, batch = cached
    answer(lively, batch, ids(400), caller=None)
    assert prefixes.tokens == 0
    answer(lively, batch, ids(400), caller="ann")

    assert answer(lively, batch, ids(400), caller="bob").cached_tokens == 0
    assert answer(lively, batch, ids(400), caller=None).cached_tokens == 0
    together = [lively.generation(ids(500, 3), Sampling(max_new_tokens=5), caller=name) for name in ("ann", "bob")]
    batch.admit(together[:1])
    batch.step(1000)
    batch.admit(together[1:])
    run(batch)
    assert together[1].cached_tokens == 0


def test_stored_prefixes_make_room_for_answers_and_stay_within_their_limit(lively_model):
    engine = small_engine(lively_model)
    prefixes = PrefixCache(400)
    batch = engine.new_batch(prefixes)
    for seed in range(4):
        answer(engine, batch, ids(150, seed))
        assert 0 < prefixes.tokens <= 400
    assert answer(engine, batch, ids(150, 3)).cached_tokens == 149
    assert answer(engine, batch, ids(150, 0)).cached_tokens == 0

    assert batch.fits(engine.generation(ids(10), Sampling(max_new_tokens=900)))
    assert prefixes.tokens == 0


def test_a_model_whose_attention_is_different_is_refused_before_it_serves(lively_model, monkeypatch):
    import serving_code.attention as attention

    right = attention.scaled_dot_product_attention
    monkeypatch.setattr(attention, "scaled_dot_product_attention", lambda *a, **k: -right(*a, **k))
    with pytest.raises(UnusableModel, match="cannot run a Phi3ForCausalLM"):
        Engine.load(lively_model, dtype="float32")
