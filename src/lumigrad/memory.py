"""The memory that large outputs and workspaces on the CPU come from.

Freed blocks are kept for the next frame instead of going back to the operating system, which would cost a page
fault for every 4 KiB of the next image. At most ``LUMIGRAD_CACHE_MB`` (an environment variable, 1024 by default)
are kept.

>>> import lumigrad.memory
>>> lumigrad.memory.empty_cache()
>>> lumigrad.memory.stats()["cached"]
0
"""

from lumigrad._engine.memory import empty_cache, reset_peak_memory, set_cache_limit, stats

__all__ = ["empty_cache", "reset_peak_memory", "set_cache_limit", "stats"]
