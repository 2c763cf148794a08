"""The settings of data preparation, as one frozen dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from phi_assets.conversations.formats.read_rows import MAX_LINE_BYTES
from phi_assets.conversations.formats.shapes import check_columns
from phi_assets.conversations.formats.turns import KEEPABLE
from phi_assets.conversations.personal_kinds import REGIONS
from phi_assets.conversations.repairs import REPAIRS

PersonalDataPolicy = Literal["mask", "drop", "keep"]


@dataclass(frozen=True, kw_only=True)
class CleaningOptions:
    """How raw conversations become a dataset. Raises ValueError for invalid values."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """The project's names of columns and roles, mapped to the names that the data uses."""
    max_line_bytes: int = MAX_LINE_BYTES
    """A longer line of JSON Lines or element of a JSON array is broken."""
    max_characters: int = 32_000
    """A conversation with more characters, all turns together, is long."""
    max_tokens: int | None = None
    """A conversation with more tokens, by an upper estimate, is long."""
    long_conversations: Literal["drop", "cut", "split"] = "drop"
    """What happens to a long conversation."""
    repairs: Sequence[str] = REPAIRS
    """The repairs that are made; where another would be needed, the row is dropped."""
    keep_fields: Sequence[str] = ()
    """Fields of turns that become a part of their text: reasoning, name, tool_calls."""
    preferences: Literal["keep", "learn_chosen"] = "keep"
    """Whether the chosen answer of a preference pair is learned too; the pair is stored either way."""
    own_splits: Literal["respect", "redraw"] = "respect"
    """Whether files and rows that the data itself puts into training, validation or test stay there."""
    template_tokens: tuple[str, ...] = ()
    """Further control tokens of the model that must not occur in content."""
    personal_data: PersonalDataPolicy = "mask"
    """What happens to a conversation with secrets or personal data. The quarantine always masks them."""
    regions: tuple[str, ...] = REGIONS
    """The regions whose kinds of personal data and forms of phone numbers are looked for."""
    names_model: str = ""
    """The folder of a model that finds names and addresses; empty for none."""
    validation_share: float = 0.1
    test_share: float = 0.1
    near_duplicate_threshold: float = 0.8
    """Jaccard similarity of word shingles from which two conversations are near duplicates."""
    shingle_words: int = 3
    """Words in a shingle; more words make near duplicates rarer."""
    minimum_split_rows: int = 20
    minimum_split_groups: int = 10
    """With fewer rows or groups in validation or test, only exact duplicates are grouped."""
    seed: int = 0
    """Another seed draws other conversations for validation and test, at the first publication."""
    quarantine_characters: int = 2_000
    """Characters of a row that the quarantine shows."""

    def __post_init__(self) -> None:
        check_columns(self.columns)
        if self.personal_data not in ("mask", "drop", "keep"):
            raise ValueError(f"personal_data is {self.personal_data!r}; choose mask, drop or keep")
        for name, known in (("repairs", REPAIRS), ("keep_fields", KEEPABLE)):
            if wrong := [each for each in getattr(self, name) if each not in known]:
                raise ValueError(f"{name} has the unknown {wrong[0]!r}; known: {', '.join(known)}")
        object.__setattr__(self, "regions", tuple(self.regions))  # a list, when it was read as JSON
        if unknown := sorted(set(self.regions) - set(REGIONS)):
            raise ValueError(f"regions has {', '.join(unknown)}; choose of {', '.join(REGIONS)}")
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give a share from 0 to below 1")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on; together they must be below 1")
        if not 0 < self.near_duplicate_threshold <= 1:
            raise ValueError(
                f"near_duplicate_threshold is {self.near_duplicate_threshold}; give a share above 0, up to 1"
            )
        for name in ("max_line_bytes", "max_characters", "shingle_words", "quarantine_characters"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give at least 1")

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON values, for a manifest."""
        return {
            **dataclasses.asdict(self),
            "columns": dict(self.columns),
            **{name: list(getattr(self, name)) for name in ("template_tokens", "repairs", "keep_fields", "regions")},
        }
