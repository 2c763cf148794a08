"""`build_context.py training|serving|chat|chat-flow FOLDER`: writes an image's build context."""

import shutil
import sys
from pathlib import Path

from phi_assets.backends.azure.chat import chat_image
from phi_assets.backends.azure.infrastructure import training_environment
from phi_assets.backends.azure.serving import image
from phi_assets.project import PROJECT
from phi_assets.prompt_flow.package import package_flow


def write(name: str, target: Path) -> None:
    """Write the context into the folder, which must not exist."""
    draft = target.with_name(f"{target.name}.draft")
    if name == "training":
        made = training_environment.FOLDER
    elif name == "serving":
        made = image.stage(draft)
    elif name == "chat":
        made = chat_image.stage(draft)
    else:
        made, _ = package_flow(PROJECT / "flows" / "chat", draft)
    shutil.copytree(made, target)
    shutil.rmtree(draft, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("training", "serving", "chat", "chat-flow"):
        sys.exit(__doc__)
    write(sys.argv[1], Path(sys.argv[2]))
