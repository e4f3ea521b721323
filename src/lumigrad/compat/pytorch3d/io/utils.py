"""Files by path, or as they are given."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require

PathOrStr = Path | str


@contextlib.contextmanager
def open_file(f: Any, path_manager: Any = None, mode: str = "r") -> Iterator[Any]:
    """A path opened and closed, or a file object that stays open.

    Args:
        f: path or file object.
        path_manager: has `open`, for paths of its own kind.
        mode: of opening.
    """
    if hasattr(f, "read") or hasattr(f, "write"):
        yield f
        return
    with Path(f).open(mode) if path_manager is None else path_manager.open(str(f), mode) as file:
        yield file


def exists(path: PathOrStr, path_manager: Any = None) -> bool:
    return Path(path).exists() if path_manager is None else bool(path_manager.exists(str(path)))


def read_image(path: PathOrStr, path_manager: Any = None) -> Tensor:
    """[H, W, 3], from 0 to 1, as the file has it."""
    image_module = require("PIL.Image", "lumigrad.compat.pytorch3d.io")
    with open_file(path, path_manager, "rb") as file:
        return torch.from_numpy(np.asarray(image_module.open(file).convert("RGB"), dtype=np.float32) / 255.0)


def write_image(path: PathOrStr, image: Tensor, path_manager: Any = None) -> None:
    """Write [H, W, 3], from 0 to 1, as PNG."""
    image_module = require("PIL.Image", "lumigrad.compat.pytorch3d.io")
    values = (image.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    with open_file(path, path_manager, "wb") as file:
        image_module.fromarray(values).save(file, format="PNG")


def has_suffix(path: Any, suffixes: tuple[str, ...]) -> bool:
    """Whether a path ends so; file objects have no name and may be anything."""
    return hasattr(path, "read") or str(path).lower().endswith(suffixes)
