"""Batches of parameters, and conversions that cameras, lights and rasterizers share."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lumigrad.compat.pytorch3d.common.datatypes import Device, make_device


class TensorAccessor:
    """One element of a batch of parameters: its attributes are those of the batch at an index, and may be set."""

    def __init__(self, class_object: TensorProperties, index: int | slice) -> None:
        self.__dict__["class_object"] = class_object
        self.__dict__["index"] = index

    def __getattr__(self, name: str) -> Any:
        return getattr(self.class_object, name)[self.index]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a parameter at the index.

        Raises:
            AttributeError: an attribute that is no tensor.
            ValueError: a value of another shape.
        """
        batch = getattr(self.class_object, name)
        if not isinstance(batch, Tensor):
            raise AttributeError(f"Can only set values on attributes which are tensors; got {type(batch)}")
        new = torch.as_tensor(value, dtype=batch.dtype, device=batch.device)
        if batch.ndim > 1 and new.ndim > 1 and new.shape[1:] != batch.shape[1:]:
            raise ValueError(f"Expected value to have shape {tuple(batch.shape)}; got {tuple(new.shape)}")
        changed = batch.clone()
        changed[self.index] = new
        setattr(self.class_object, name, changed)


class TensorProperties(nn.Module):
    """Parameters with the batch first, expanded to one number of elements.

    Args:
        dtype: of what is no tensor.
        device: of what is no tensor.
        kwargs: numbers, lists, arrays and tensors become tensors [N, ...]; texts, flags and None stay what they are.

    Raises:
        ValueError: batches of different sizes.
    """

    def __init__(self, dtype: torch.dtype = torch.float32, device: Device = "cpu", **kwargs: Any) -> None:
        super().__init__()
        self.device = make_device(device)
        self._N = 0
        self._fields: tuple[str, ...] = ()
        tensors = {}
        for name, value in kwargs.items():
            if value is None or isinstance(value, (str, bool)):
                setattr(self, name, value)
            elif isinstance(value, (float, int, list, tuple, Tensor, np.ndarray)):
                tensors[name] = value
            else:
                warnings.warn(f"Arg {name} with type {type(value)} is not broadcastable", stacklevel=2)
        if tensors:
            rows = convert_to_tensors_and_broadcast(*tensors.values(), dtype=dtype, device=device)
            for name, value in zip(tensors, rows):
                setattr(self, name, value)
            self._N, self._fields = len(rows[0]), tuple(tensors)

    def __len__(self) -> int:
        return self._N

    def isempty(self) -> bool:
        return self._N == 0

    def __getitem__(self, index: int | slice) -> Any:
        """An accessor to one element, or to some.

        Raises:
            ValueError: an index of another kind.
        """
        if not isinstance(index, (int, slice)):
            raise ValueError(f"Expected index of type int or slice; got {type(index)}")
        return TensorAccessor(self, index)

    def _tensors(self) -> dict[str, Tensor]:
        """Attributes that are tensors."""
        return {k: v for k, v in (*self.__dict__.items(), *self._parameters.items()) if isinstance(v, Tensor)}

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Any:
        """The same with all tensors changed. Not in PyTorch3D."""
        other = copy.copy(self)
        other.__dict__["_parameters"] = {}
        for name, value in self._tensors().items():
            other.__dict__[name] = function(value)
        return other

    def to(self, device: Device = "cpu") -> Any:  # type: ignore[override]
        """All tensors on a device, in place; returns the object itself."""
        self.device = make_device(device)
        for name, value in self._tensors().items():
            if value.device != self.device:
                setattr(self, name, value.to(self.device))
        return self

    def cpu(self) -> Any:
        return self.to("cpu")

    def cuda(self, device: int | None = None) -> Any:  # type: ignore[override]
        return self.to("cuda" if device is None else f"cuda:{device}")

    def clone(self, other: Any = None) -> Any:
        """A copy with tensors of its own, through which gradients flow; into `other` if it is given."""
        copied = self.mapped(torch.clone)
        if other is None:
            return copied
        other.__dict__.update(copied.__dict__)
        return other

    def gather_props(self, batch_idx: Tensor) -> Any:
        """Take elements [M] in place: parameters become [M, ...]. Those of one element stay so. Returns the object."""
        for name, value in self._tensors().items():
            if len(value) > 1:
                setattr(self, name, value[batch_idx])
        return self


def format_tensor(input: Any, dtype: torch.dtype = torch.float32, device: Device = "cpu") -> Tensor:
    """A tensor with a batch dimension; numbers become [1]. Tensors keep their type."""
    tensor = input if isinstance(input, Tensor) else torch.tensor(input, dtype=dtype)
    tensor = tensor.to(make_device(device))
    return tensor.reshape(1) if tensor.ndim == 0 else tensor


def convert_to_tensors_and_broadcast(
    *args: Any, dtype: torch.dtype = torch.float32, device: Device = "cpu"
) -> list[Tensor]:
    """Tensors [N, ...] of values [N, ...], [1, ...] or numbers.

    Raises:
        ValueError: batches of different sizes.
    """
    tensors = [format_tensor(value, dtype, device) for value in args]
    sizes = [len(value) for value in tensors]
    count = max(sizes)
    if any(size not in (1, count) for size in sizes):
        raise ValueError(f"Got non-broadcastable sizes {sizes}")
    return [value.expand(count, *value.shape[1:]) for value in tensors]


def ndc_to_grid_sample_coords(xy_ndc: Tensor, image_size_hw: Sequence[int]) -> Tensor:
    """NDC [..., 2] as `grid_sample` counts: right and down, [-1, 1] over both sides.

    Raises:
        ValueError: no pair of positive sizes.
    """
    if len(image_size_hw) != 2 or any(side <= 0 for side in image_size_hw):
        raise ValueError(f"'image_size_hw' has to be a 2-tuple of positive integers, got {image_size_hw}")
    height, width = image_size_hw
    return -xy_ndc * min(image_size_hw) / xy_ndc.new_tensor([width, height])


def ndc_grid_sample(input: Tensor, grid_ndc: Tensor, *, align_corners: bool = False, **kwargs: Any) -> Tensor:
    """Values [B, C, ...] of images [B, C, H, W] at NDC [B, ..., 2].

    Args:
        input: images.
        grid_ndc: where.
        align_corners, kwargs: of `grid_sample`.

    Raises:
        ValueError: shapes that do not fit.
    """
    if len(input) != len(grid_ndc):
        raise ValueError("'input' and 'grid_ndc' have to have the same batch size.")
    if input.ndim != 4:
        raise ValueError(f"'input' has to be a 4-dimensional Tensor, got shape {tuple(input.shape)}.")
    if grid_ndc.shape[-1] != 2:
        raise ValueError(f"The last dimension of 'grid_ndc' has to be == 2, got {grid_ndc.shape[-1]}.")
    grid = ndc_to_grid_sample_coords(grid_ndc.reshape(len(input), -1, 1, 2), input.shape[2:])
    found = F.grid_sample(input, grid, align_corners=align_corners, **kwargs)
    return found.reshape(len(input), input.shape[1], *grid_ndc.shape[1:-1])


def parse_image_size(image_size: Any) -> tuple[int, int]:
    """(height, width) of a pair, or of the side of a square.

    Raises:
        ValueError: something else.
    """
    if not isinstance(image_size, (tuple, list)):
        return image_size, image_size
    if len(image_size) != 2:
        raise ValueError(f"Image size can only be a tuple/list of (H, W), got {image_size}")
    if not all(side > 0 for side in image_size):
        raise ValueError(f"Image sizes must be greater than 0; got {image_size[0]}, {image_size[1]}")
    if not all(isinstance(side, int) for side in image_size):
        raise ValueError(f"Image sizes must be integers; got {image_size[0]}, {image_size[1]}")
    return image_size[0], image_size[1]
