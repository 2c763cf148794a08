"""How many tokens' keys and values fit into this machine's memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# The rest is for activations, the system's file cache, and a second deployment during an update.
SHARE = 0.4
CGROUP = Path("/sys/fs/cgroup")


def available_bytes(device: torch.device) -> int:
    """The memory that is free where the model is: of the graphics card, or of this machine or container."""
    import psutil
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = _container_free()
    return free if limit is None else min(free, limit)


def total_bytes() -> int:
    """The memory of this machine."""
    import psutil

    return psutil.virtual_memory().total


def _container_free() -> int | None:
    """What a container's limit leaves (cgroup v2); None without a limit. psutil shows the whole machine's memory."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if limit == "max":
        return None
    # Pages of files that the kernel drops when memory is needed count as used.
    return max(int(limit) - used + int(stat.get("inactive_file", 0)), 0)
