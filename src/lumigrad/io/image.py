"""Images: row 0 is the top, values in [0, 1], display-encoded as files hold them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require

if TYPE_CHECKING:
    from PIL import Image


def from_pil(picture: Image.Image) -> Tensor:
    """Float32 tensor [H, W, 3], or [H, W, 4] where the picture has transparency."""
    transparent = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    array = np.asarray(picture.convert("RGBA" if transparent else "RGB"), dtype=np.float32)
    return torch.from_numpy(array / 255)


def to_pil(image: Tensor) -> Image.Image:
    """8-bit picture from [H, W, 1, 3 or 4]; values outside [0, 1] are clamped, NaN becomes 0."""
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(f"image: expected [H, W, 1, 3 or 4], got {list(image.shape)}")
    from PIL import Image

    values = torch.nan_to_num(image.detach().float().cpu()).clamp(0, 1)
    array = (values * 255 + 0.5).to(torch.uint8).numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def load_image(path: str | Path) -> Tensor:
    """Read an image as float32 [H, W, 3 or 4] in [0, 1].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an image that Pillow reads.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    pillow = require("PIL.Image", "lumigrad.io.load_image")
    try:
        with pillow.open(path) as picture:
            return from_pil(picture)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from error


def save_image(image: Tensor, path: str | Path) -> None:
    """Write [H, W, 1, 3 or 4] in [0, 1] in the format that the suffix names.

    Raises:
        ValueError: an unknown suffix or an unsuitable shape.
    """
    pillow = require("PIL.Image", "lumigrad.io.save_image")
    path = Path(path)
    if path.suffix.lower() not in pillow.registered_extensions():
        raise ValueError(f"cannot write {path}: unknown image format '{path.suffix}'")
    path.parent.mkdir(parents=True, exist_ok=True)
    to_pil(image).save(path)


def save_gif(frames: Sequence[Tensor], path: str | Path, frames_per_second: float = 20.0) -> None:
    """Write frames [H, W, 3] as an endless GIF; they share one palette, so that colours do not flicker."""
    if not frames:
        raise ValueError("frames: expected at least one image, got none")
    pillow = require("PIL.Image", "lumigrad.io.save_gif")
    pictures = [to_pil(frame).convert("RGB") for frame in frames]
    some = pictures[:: max(1, len(pictures) // 6)]
    sheet = pillow.new("RGB", (some[0].width * len(some), some[0].height))
    for column, picture in enumerate(some):
        sheet.paste(picture, (column * some[0].width, 0))
    palette = sheet.quantize(256, method=pillow.Quantize.MEDIANCUT)
    indexed = [picture.quantize(palette=palette, dither=pillow.Dither.NONE) for picture in pictures]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # GIF counts time in hundredths of a second.
    duration = max(2, round(100 / frames_per_second)) * 10
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=duration, loop=0, optimize=False)
