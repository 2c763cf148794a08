"""The program: `python -m export_code MODEL_FOLDER --to FOLDER [--format gguf|safetensors] [--quantize q8_0]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export_code.errors import CannotExport
from export_code.folder import export_gguf, export_safetensors, own_name
from export_code.gguf_file import QUANTIZATIONS, About

REFUSED = 2  # equals the exit code of argparse


def main(arguments: Sequence[str] | None = None) -> int:
    """Export, and return the exit code: 0, or 2 with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m export_code", description=__doc__, allow_abbrev=False)
    parser.add_argument("model", type=Path, help="folder of a prepared or trained model")
    parser.add_argument("--to", type=Path, required=True, help="the new folder")
    parser.add_argument("--format", choices=("gguf", "safetensors"), default="gguf", help="default: %(default)s")
    parser.add_argument("--quantize", choices=QUANTIZATIONS, default="q8_0", help="of GGUF (default: %(default)s)")
    parser.add_argument("--name", default="", help="of the model (default: its folder's)")
    options = parser.parse_args(arguments)
    try:
        if options.format == "gguf":
            about = About(options.name or own_name(options.model))
            written = export_gguf(options.model, options.to, about, options.quantize, print)
        else:
            written = export_safetensors(options.model, options.to, print)
    except CannotExport as e:
        print(f"error: {e}", file=sys.stderr)
        return REFUSED
    print("\n".join(map(str, written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
