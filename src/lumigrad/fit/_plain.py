"""Conversion of fit states to plain values and back. Values read from a file are checked against the class's
annotations."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Sequence
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

T = TypeVar("T")


def from_plain(kind: type[T], values: Any) -> T:
    """An instance of a dataclass of tensors and plain values; see `check_plain`."""
    check_plain(kind, values, "state")
    return kind(**values)


def check_plain(kind: type[Any], values: Any, name: str) -> None:
    """Check that a dataclass can be made from values.

    Raises:
        ValueError: a value is missing, unknown, of another type, or not finite.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{name}: expected a dict, got {type(values).__name__}")
    hints = get_type_hints(kind)
    unknown = sorted(str(key) for key in values if key not in hints)
    if unknown:
        raise ValueError(f"{name}: unknown {', '.join(unknown)}")
    missing = sorted(key for key in hints if key not in values)
    if missing:
        raise ValueError(f"{name}: {', '.join(missing)} missing")
    for key, value in values.items():
        _check(f"{name}.{key}", value, hints[key])


def check_adam(saved: Any, tensors: Sequence[Tensor], grouped: Sequence[int], name: str) -> set[int]:
    """Check that Adam can resume with these tensors from a saved `state_dict`.

    Args:
        grouped: the number of tensors in each of its groups.

    Returns:
        The numbers of the tensors that have moments.

    Raises:
        ValueError: values are missing, of another type, or do not fit the tensors.
    """
    if not isinstance(saved, dict) or saved.keys() != {"state", "param_groups"} or not isinstance(saved["state"], dict):
        raise ValueError(f"{name}: expected state and param_groups")
    if not isinstance(saved["param_groups"], list):
        raise ValueError(f"{name}.param_groups: expected a list, got {type(saved['param_groups']).__name__}")
    listed = [group.get("params") if isinstance(group, dict) else None for group in saved["param_groups"]]
    numbers = iter(range(len(tensors)))
    if listed != [list(itertools.islice(numbers, count)) for count in grouped]:
        raise ValueError(f"{name}.param_groups: expected {len(tensors)} tensors in {len(grouped)} groups")
    for number, moments in saved["state"].items():
        if number not in range(len(tensors)) or not isinstance(moments, dict):
            raise ValueError(f"{name}.state: expected moments of {len(tensors)} tensors, got {number}")
        shapes = {key: value.shape if isinstance(value, Tensor) else None for key, value in moments.items()}
        like = tensors[number].shape
        if shapes != {"step": torch.Size(), "exp_avg": like, "exp_avg_sq": like}:
            raise ValueError(f"{name}.state[{number}]: expected a step and moments {[*like]}")
    return set(saved["state"])


def _check(name: str, value: Any, hint: Any) -> None:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value is None and type(None) in options:
        return
    option = next(option for option in options if option is not type(None))
    expected = get_origin(option) or option
    accepted = (int, float) if expected is float else expected
    if option is not Any and (not isinstance(value, accepted) or isinstance(value, bool)):
        raise ValueError(f"{name}: expected {getattr(expected, '__name__', expected)}, got {type(value).__name__}")
    if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise ValueError(f"{name}: holds values that are not finite")
    if isinstance(value, float) and math.isnan(value):
        raise ValueError(f"{name}: is not a number")
    arguments = get_args(option)
    if isinstance(value, dict):
        for key, item in value.items():
            _check(f"{name}.{key}", item, arguments[1] if arguments else Any)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check(f"{name}[{i}]", item, arguments[0] if arguments else Any)
