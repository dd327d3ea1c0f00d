"""How much memory there is for a network to work in."""

import os
from pathlib import Path

import torch

_CGROUP_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux keeps a container's limit, its use, and what of the use it gives back on demand; version 2 and 1."""


def memory_at_hand(device: torch.device, root: Path = Path("/")) -> int | None:
    """Bytes that can be taken now without harm to others.

    Args:
        device: Its own memory for CUDA, the machine's (or, where less, the container's) for all others.
        root: Of the file system that Linux describes memory in.
    Returns:
        None where the system does not say.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    known = [
        bytes_
        for bytes_ in (_machine(root), *(_container(root, *names) for names in _CGROUP_LIMITS))
        if bytes_
    ]
    return min(known, default=None)


def _machine(root: Path) -> int | None:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux
    try:
        # what is free is not told apart from what can be freed: half of the machine is a fair guess
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return None


def _container(root: Path, limit: str, used: str, reclaimable: str) -> int | None:
    folder = root / "sys/fs/cgroup"
    try:
        most = int((folder / limit).read_text())
        now = int((folder / used).read_text())
        stat = (folder / used).with_name("memory.stat").read_text()
        cached = next(int(line.split()[1]) for line in stat.splitlines() if line.split()[0] == reclaimable)
    except (OSError, ValueError, StopIteration):  # no container, or no limit ("max")
        return None
    return max(most - now + cached, 1)
