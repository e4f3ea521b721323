"""Moving pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from lumigrad._optional import require
from lumigrad.io.image import as_frames, save_gif, to_pil
from lumigrad.types.validation import as_path, number

# Formats that Pillow writes, and formats that need a video encoder.
_PICTURES = (".gif", ".webp", ".apng")
_VIDEOS = (".mp4", ".webm", ".mov", ".mkv")
VIDEO_SUFFIXES = (*_PICTURES, *_VIDEOS)


def save_video(frames: Sequence[Tensor], path: str | Path, frames_per_second: float = 24.0) -> None:
    """Write frames [H, W, 3] of values in [0, 1] in the format that the suffix names.

    Args:
        frames: all of one size; of a .mp4 and its like, an odd last row or column is left out.
        path: .gif (256 colours), .webp, .apng, or .mp4, .webm, .mov, .mkv (through imageio and FFmpeg).
        frames_per_second: above 0.

    Raises:
        ValueError: no frames, or an unknown suffix.
        MissingPackageError: the package that writes the format is not installed.

    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.io import save_video
    >>> save_video([torch.full((8, 12, 3), value) for value in (0.0, 0.5, 1.0)], "fade.gif", frames_per_second=10)
    >>> Path("fade.gif").stat().st_size > 0
    True
    """
    path = as_path("path", path)
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise ValueError(f"cannot write {path}: expected {', '.join(VIDEO_SUFFIXES)}")
    if not len(as_frames(frames)):
        raise ValueError("frames: expected at least one image, got none")
    number("frames_per_second", frames_per_second, positive=True)
    if suffix == ".gif":
        save_gif(list(frames), path, frames_per_second)
        return
    pictures = [to_pil(frame, "frames").convert("RGB") for frame in frames]
    if suffix in _PICTURES:
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"lossless": True} if suffix == ".webp" else {"format": "PNG"}
        duration = round(1000 / frames_per_second)
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=duration, loop=0, **options)
        return
    writer = require("imageio.v3", f"writing {suffix} files")
    require("imageio_ffmpeg", f"writing {suffix} files")
    even = np.stack([np.asarray(p)[: p.height // 2 * 2, : p.width // 2 * 2] for p in pictures])
    path.parent.mkdir(parents=True, exist_ok=True)
    writer.imwrite(path, even, plugin="FFMPEG", fps=frames_per_second, macro_block_size=2, quality=8)
