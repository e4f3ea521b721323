"""What torchrun, or another launcher that sets the same variables, tells the processes that it starts."""

from __future__ import annotations

import os


def group_size() -> int:
    """How many processes torchrun, or another launcher that sets RANK and WORLD_SIZE, has started."""
    size = os.environ.get("WORLD_SIZE", "1")
    return int(size) if "RANK" in os.environ and size.isdigit() else 1


def is_first() -> bool:
    """Whether this is the first of the processes that were started, or the only one."""
    return group_size() == 1 or int(os.environ["RANK"]) == 0
