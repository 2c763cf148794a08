"""The loss: packed rows never mix conversations, and the fast CPU loss is the same as the model's own."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training_code.errors import TrainingRefused
from training_code.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers.modeling_utils")


def trainer_for(settings: Settings) -> Any:
    from training_code import process
    from training_code.data import as_dataset, load_rows
    from training_code.model import load_model, load_tokenizer, stop_ids
    from training_code.trainer import make_trainer

    process.prepare(settings)
    tokenizer = load_tokenizer(settings.base_model)
    rows = load_rows(settings.train_file, tokenizer, stop_ids(settings.base_model, tokenizer), settings.max_length, 0.0)
    data = as_dataset(rows.rows, packing=settings.packing, packed_length=settings.packed_length, seed=0)
    return make_trainer(settings, load_model(settings), tokenizer, data, data, [])


def loss_per_token(trainer: Any) -> float:
    return trainer.evaluate()["eval_loss"]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_and_unpacked_rows_have_the_same_loss_per_token(settings: Callable[..., Settings], attention: str):
    alone = loss_per_token(trainer_for(settings(packing=False, attention=attention)))
    packed = trainer_for(settings(packing=True, packed_length=512, attention=attention))
    assert max(len(lengths) for lengths in packed.train_dataset["seq_lengths"]) > 5
    assert loss_per_token(packed) == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize("given", [{"packing": True}, {"packing": False}])
def test_the_validation_loss_does_not_depend_on_the_batch_size(
    settings: Callable[..., Settings], given: dict[str, Any]
):
    one = loss_per_token(trainer_for(settings(eval_batch_size=1, **given)))
    five = loss_per_token(trainer_for(settings(eval_batch_size=5, **given)))
    assert five == pytest.approx(one, abs=1e-5)


def test_a_packed_conversation_computes_the_same_whatever_stands_beside_it(settings: Callable[..., Settings]):
    import torch

    model = trainer_for(settings(method="full")).model.eval()
    torch.manual_seed(0)
    before, other, after = (torch.randint(10, 500, (1, n)) for n in (17, 17, 23))
    positions = torch.cat([torch.arange(17), torch.arange(23)])[None]
    with torch.no_grad():
        one = model(input_ids=torch.cat([before, after], 1), position_ids=positions, use_cache=False).logits[:, 17:]
        two = model(input_ids=torch.cat([other, after], 1), position_ids=positions, use_cache=False).logits[:, 17:]
    assert torch.equal(one, two)


def test_the_fast_loss_and_its_gradient_are_those_of_the_model(settings: Callable[..., Settings]):
    import torch

    trainer = trainer_for(settings(method="full", packing=False))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])
    trainer.model.train()
    fast = trainer.compute_loss(trainer.model, dict(batch))
    fast.backward()
    gradients = {name: p.grad.clone() for name, p in trainer.model.named_parameters()}
    trainer.model.zero_grad()
    plain = trainer.model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    ).loss
    plain.backward()
    assert fast.item() == pytest.approx(plain.item(), abs=1e-5)
    for name, p in trainer.model.named_parameters():
        assert torch.allclose(gradients[name], p.grad, atol=1e-5), name


@pytest.mark.parametrize(("kind", "sdpa"), [("llama", True), ("gemma2", False)])
def test_the_loss_of_another_architecture_is_its_own(
    settings: Callable[..., Settings], tiny: Any, tmp_path: Path, kind: str, sdpa: bool
):
    """Gemma 2 caps its logits."""
    from transformers import AutoConfig, AutoModelForCausalLM

    base = Path(shutil.copytree(tiny(), tmp_path / kind))
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": 512, "head_dim": 8}
    config = AutoConfig.for_model(kind, **sizes, **special, num_key_value_heads=2, initializer_range=1.0)
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    (base / "generation_config.json").write_bytes((tiny() / "generation_config.json").read_bytes())
    given: dict[str, Any] = {"base_model": base, "method": "full", "packing": False}
    if not sdpa:
        for packing in (True, False):
            with pytest.raises(TrainingRefused, match="attention = sdpa: Gemma2ForCausalLM does not support"):
                trainer_for(settings(**given | {"packing": packing}))
        given["attention"] = "eager"
    trainer = trainer_for(settings(**given))
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(4)])

    assert trainer.compact
    own = trainer.model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]
    ).loss
    assert trainer.compute_loss(trainer.model.train(), dict(batch)).item() == pytest.approx(own.item(), abs=1e-4)


def test_two_half_batches_make_the_same_step_as_a_whole_one(settings: Callable[..., Settings], tmp_path: Path):
    import torch

    weights = []
    for batch_size, accumulation in ((4, 1), (1, 4)):
        given = {"batch_size": batch_size, "accumulation": accumulation, "packing": False, "method": "full"}
        trainer = trainer_for(settings(output_dir=tmp_path / str(batch_size), learning_rate=1e-2, **given))
        trainer.args.max_steps, trainer.args.save_strategy, trainer.args.load_best_model_at_end = 2, "no", False
        trainer.args.warmup_steps = 0
        trainer.train()
        weights.append(trainer.model.get_output_embeddings().weight.detach().clone())
    assert torch.allclose(*weights, atol=1e-4)
