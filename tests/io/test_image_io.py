"""Image files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from lumigrad.io import load_image, save_gif, save_image


def test_png_round_trip_is_exact_and_row_0_is_the_top(tmp_path: Path) -> None:
    image = torch.arange(4 * 5 * 3).reshape(4, 5, 3).float() / 255
    save_image(image, tmp_path / "deep" / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "deep" / "a.png"), image)
    assert Image.open(tmp_path / "deep" / "a.png").getpixel((1, 0)) == (3, 4, 5)


def test_alpha_grey_and_palette(tmp_path: Path) -> None:
    rgba = torch.rand(3, 3, 4)
    save_image(rgba, tmp_path / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "a.png"), rgba, atol=0.5 / 255 + 1e-6, rtol=0)
    save_image(torch.full((2, 2, 1), 0.2), tmp_path / "g.png")
    torch.testing.assert_close(load_image(tmp_path / "g.png"), torch.full((2, 2, 3), 0.2))
    Image.new("P", (2, 2)).save(tmp_path / "p.png")
    assert load_image(tmp_path / "p.png").shape == (2, 2, 3)


def test_out_of_range_values_are_clamped(tmp_path: Path) -> None:
    save_image(torch.tensor([[[-1.0, 2.0, float("nan")]]]), tmp_path / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "a.png"), torch.tensor([[[0.0, 1.0, 0.0]]]))


def test_gif(tmp_path: Path) -> None:
    frames = [torch.full((8, 6, 3), 0.1 * k) for k in range(5)]
    save_gif(frames, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"]) == (5, (6, 8), 0)
        gif.seek(4)
        assert abs(gif.convert("RGB").getpixel((0, 0))[0] - 102) < 6
    with pytest.raises(ValueError, match="frames"):
        save_gif([], tmp_path / "b.gif")


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none.png")
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="cannot read"):
        load_image(tmp_path / "a.png")
    with pytest.raises(ValueError, match="unknown image format"):
        save_image(torch.zeros(1, 1, 3), tmp_path / "a.abc")
    with pytest.raises(ValueError, match="image: expected"):
        save_image(torch.zeros(1, 1, 2), tmp_path / "a.png")
