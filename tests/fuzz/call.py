"""A call of an op, and its definition to compare with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor


class Call(NamedTuple):
    """
    Attributes:
        function: the op.
        reference: its definition, which takes the same arguments.
        arguments: by name.
        exact: outputs that are the definition's whatever is rounded, by the last part of their path.
        ties: the pixels [N, H, W] at which rounding decides what is seen, by the definition's outputs and a bound.
        checked: whether wrong arguments are refused; not by what has no public name.
    """

    function: Callable[..., Any]
    reference: Callable[..., Any]
    arguments: dict[str, Any]
    exact: tuple[str, ...] = ()
    ties: Callable[[dict[str, Tensor], float], Tensor] | None = None
    checked: bool = True
