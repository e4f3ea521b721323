"""Starting programs as gsplat's examples do."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def cli(fn: Callable[[int, int, int, Any], Any], args: Any, verbose: bool = False) -> bool:
    """Call ``fn(local_rank, world_rank, world_size, args)`` in this process, as the only one.

    Raises:
        NotImplementedError: under MPI with several processes; `lumigrad.fit` divides fits among processes.
    """
    if int(os.environ.get("OMPI_COMM_WORLD_SIZE", "1")) > 1:
        raise NotImplementedError(
            "cli: several processes are not offered by lumigrad.compat.gsplat; use lumigrad splat --divide primitives"
        )
    fn(0, 0, 1, args)
    return True
