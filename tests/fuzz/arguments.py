"""The tensors within the arguments and results of a call, by path: "pos", "frags.bary", "mips[1]"."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

Change = Callable[[str, Tensor], Tensor]


def mapped(value: Any, change: Change, path: str = "") -> Any:
    """The value with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(path, value)
    if isinstance(value, dict):
        return {name: mapped(item, change, f"{path}.{name}" if path else name) for name, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = (mapped(item, change, f"{path}.{name}".lstrip(".")) for name, item in zip(value._fields, value))
        return type(value)(*parts)
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(item, change, f"{path}[{i}]") for i, item in enumerate(value))
    return value


def tensors(value: Any) -> dict[str, Tensor]:
    """All tensors in a value, by path."""
    found: dict[str, Tensor] = {}

    def note(path: str, tensor: Tensor) -> Tensor:
        found[path] = tensor
        return tensor

    mapped(listed(value), note)
    return found


def listed(result: Any) -> Any:
    """The value; an iterator becomes a list of its first items, because there may be 2**70 layers."""
    return list(itertools.islice(result, 100)) if isinstance(result, Iterator) else result


def described(value: Any) -> str:
    """A description for a report."""
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, dict):
        return ", ".join(f"{name}={described(item)}" for name, item in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"{type(value).__name__}({described(value._asdict())})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(described, value))}]"
    return repr(value)
