"""What a GGUF file says about itself, and the tokenizer that it carries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phi_assets.base_models.errors import BaseModelError, IncompleteModel

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class GgufFacts:
    """The header of a GGUF file, as far as a conversion reads it."""

    architecture: str
    pre_tokenizer: str
    quantisation: str
    """The type that most weights are stored in, such as Q4_1."""


def read_gguf_facts(gguf: Path) -> GgufFacts:
    """The facts in the header of ``gguf``. Raises IncompleteModel when the file is no GGUF or is truncated."""
    from gguf import GGUFReader

    try:
        reader = GGUFReader(gguf)
    except (ValueError, OSError, IndexError, KeyError) as e:
        raise IncompleteModel(f"{gguf} can't be read as GGUF ({e}); install its package again") from e
    stored: Counter[str] = Counter()
    for tensor in reader.tensors:
        stored[tensor.tensor_type.name] += int(tensor.n_elements)
    return GgufFacts(
        architecture=str(_value(reader, "general.architecture")),
        pre_tokenizer=str(_value(reader, "tokenizer.ggml.pre")),
        quantisation=stored.most_common(1)[0][0] if stored else "nothing",
    )


def _value(reader: Any, key: str) -> Any:
    field = reader.fields.get(key)
    return None if field is None else field.contents()


def read_gguf_tokenizer(gguf: Path, *, pre_tokenizer: str, context_length: int) -> PreTrainedTokenizerBase:
    """The tokenizer in ``gguf``, splitting text as the file's ``tokenizer.ggml.pre`` says.

    transformers reads the vocabulary and the merges, but splits with GPT-2's pattern whatever the file asks for.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, clean_up_tokenization_spaces=False, model_max_length=context_length
    )
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer_named(pre_tokenizer)
    return tokenizer


def pre_tokenizer_named(name: str) -> PreTokenizer:
    """The splitter that GGUF calls ``name``. Raises BaseModelError for one that is not known here.

    The patterns are llama.cpp's: ``smollm`` takes each digit alone before it splits as GPT-2 does.
    """
    from tokenizers import pre_tokenizers

    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "gpt-2":
        return gpt2
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    raise BaseModelError(f"the GGUF's pre-tokenizer {name!r} is not known: use a model with 'smollm' or 'gpt-2'")
