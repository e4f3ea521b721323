"""Moving pictures in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lumigrad.io import save_video

# One grey for each frame.
FRAMES = [torch.full((9, 13, 3), value) for value in (0.0, 0.4, 0.8)]


@pytest.mark.parametrize("suffix", ["gif", "webp", "apng"])
def test_pictures(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "deep" / f"a.{suffix}"
    save_video(FRAMES, path, 20.0)
    with Image.open(path) as film:
        assert film.n_frames == 3
        for number, frame in enumerate(FRAMES):
            film.seek(number)
            assert film.size == (13, 9)
            seen = np.asarray(film.convert("RGB"))
            assert np.abs(seen - 255 * frame.numpy()).max() < 3, number
            assert film.info["duration"] == 50


def test_mp4(tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    reader = pytest.importorskip("imageio.v3")
    frames = [torch.full((49, 64, 3), value) for value in (0.0, 0.4, 0.8)]
    save_video(frames, tmp_path / "a.mp4", 10.0)
    read = reader.imread(tmp_path / "a.mp4", plugin="FFMPEG")
    assert read.shape == (3, 48, 64, 3)  # an even number of rows
    assert read.reshape(3, -1).mean(1).tolist() == pytest.approx([0, 102, 204], abs=6)
    assert reader.immeta(tmp_path / "a.mp4", plugin="FFMPEG")["fps"] == 10


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.avi: expected \.gif, \.webp"):
        save_video(FRAMES, tmp_path / "a.avi")
    with pytest.raises(ValueError, match="frames: expected at least one"):
        save_video([], tmp_path / "a.gif")
    with pytest.raises(ValueError, match="frames_per_second: expected a positive number"):
        save_video(FRAMES, tmp_path / "a.gif", 0.0)
