"""The parts of a report: one that cannot be read is a sentence, and the others are shown."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from phi_assets import faults
from phi_assets.cli.console import print_error
from phi_assets.settings import SettingsError

Value = TypeVar("Value")


@dataclass
class Parts:
    """Reads parts of a report on this home. `faults`: the sentence of each part that cannot be read."""

    home: Path
    faults: dict[str, str] = field(default_factory=dict)

    def read(self, part: str, call: Callable[[], Value], otherwise: Value) -> Value:
        """Return what the call returns, or `otherwise` after a fault. Raises SettingsError: nothing can be read."""
        try:
            return call()
        except SettingsError:
            raise
        except Exception as e:
            self.note(part, e)
            return otherwise

    def note(self, part: str, error: Exception) -> str:
        """Store the sentence for the error of a part, and return it."""
        self.faults[part] = faults.sentence(error, self.home) or f"{type(error).__name__}: {error}"
        return self.faults[part]

    def show(self) -> None:
        """Print every different sentence on stderr, with the parts that it concerns."""
        for said in dict.fromkeys(self.faults.values()):
            parts = ", ".join(part for part, sentence in self.faults.items() if sentence == said)
            print_error(f"{parts}: {said}")
