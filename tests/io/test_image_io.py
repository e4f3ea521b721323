"""Image files."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lumigrad.io import load_image, save_gif, save_image
from lumigrad.io.image import _oriented


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


def test_16_bits_and_floats_keep_their_values(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray((ramp / 65535).astype(np.float32)).save(tmp_path / "float.tif")
    expected = torch.from_numpy(ramp.astype(np.float32) / 65535)[..., None].expand(-1, -1, 3)
    for name in ("grey.png", "float.tif"):
        torch.testing.assert_close(load_image(tmp_path / name), expected, atol=1e-7, rtol=0)


def test_colours_of_16_bits(tmp_path: Path) -> None:
    image = torch.tensor([[[0.0, 1.0, 1000 / 65535], [3 / 65535, 0.5, 257 / 65535]]])
    _write_16_bits((image * 65535).round().numpy().astype(np.uint16), tmp_path / "a.png")
    torch.testing.assert_close(load_image(tmp_path / "a.png"), image, atol=1e-5, rtol=0)


def _write_16_bits(values: np.ndarray, path: Path) -> None:
    """A PNG of three channels of 16 bits, written by hand: Pillow writes none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".exr", 0.0), (".pfm", 0.0), (".npy", 0.0), (".hdr", 2 / 256)])
@pytest.mark.parametrize("channels", [1, 3])
def test_radiance_is_neither_clipped_nor_encoded(tmp_path: Path, suffix: str, tolerance: float, channels: int) -> None:
    """Radiance HDR has eight bits of mantissa, shared by the channels."""
    image = 4 * torch.rand(5, 7, channels, generator=torch.Generator().manual_seed(0)) + 0.01
    save_image(image, tmp_path / f"a{suffix}")
    actual = load_image(tmp_path / f"a{suffix}")
    assert actual.shape == (5, 7, 3)
    torch.testing.assert_close(actual, image.expand(-1, -1, 3), atol=4 * tolerance, rtol=0)


def exr(path: Path, names: tuple[str, ...], window: tuple[int, ...] | None = None) -> np.ndarray:
    """A file of 4 x 6 random pixels in channels of these names, at (x, y) of a display window (x, y, width, height)."""
    library = pytest.importorskip("OpenImageIO")
    values = np.random.default_rng(0).random((4, 6, len(names)), np.float32)
    spec = library.ImageSpec(6, 4, len(names), library.FLOAT)
    spec.channelnames = names
    if window is not None:
        spec.x, spec.y, spec.full_x, spec.full_y, spec.full_width, spec.full_height = window
    output = library.ImageOutput.create(str(path))
    assert output.open(str(path), spec)
    assert output.write_image(values)
    output.close()
    return values


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("R", "G", "B", "Z"), (0, 1, 2)),  # depth is no opacity
        (("R", "G", "B", "A", "N.X", "N.Y"), (0, 1, 2, 3)),
        (("Depth.Z", "View.R", "View.G", "View.B", "View.A"), (1, 2, 3, 4)),
        (("left.R", "left.G", "left.B", "right.R", "right.G", "right.B"), (0, 1, 2)),
        (("Y", "right.Y"), (0, 0, 0)),
        (("Y", "A"), (0, 0, 0, 1)),
        (("Z",), (0, 0, 0)),
    ],
)
def test_channels_by_their_names(tmp_path: Path, names: tuple[str, ...], shown: tuple[int, ...]) -> None:
    stored = exr(tmp_path / "a.exr", names)
    names_there = [stored[..., i] for i in shown]  # whatever the order in which the file holds them
    torch.testing.assert_close(load_image(tmp_path / "a.exr"), torch.from_numpy(np.stack(names_there, -1)))


@pytest.mark.parametrize("window", [(2, 1, 0, 0, 10, 8), (0, 0, 1, 2, 3, 1), (-1, 3, 0, 1, 7, 4), (0, 0, 9, 9, 5, 5)])
def test_the_display_window_is_the_image(tmp_path: Path, window: tuple[int, ...]) -> None:
    stored = exr(tmp_path / "a.exr", ("R", "G", "B"), window)
    x, y, left, top, width, height = window
    image = load_image(tmp_path / "a.exr")
    assert image.shape == (height, width, 3)
    for i in range(height):
        for j in range(width):
            row, column = i + top - y, j + left - x
            inside = 0 <= row < 4 and 0 <= column < 6
            assert image[i, j].tolist() == (stored[row, column].tolist() if inside else [0, 0, 0])


def test_deep_images_are_refused(tmp_path: Path) -> None:
    library = pytest.importorskip("OpenImageIO")
    spec = library.ImageSpec(2, 2, 4, library.FLOAT)
    spec.deep, spec.channelnames = True, ("R", "G", "B", "A")
    data = library.DeepData()
    data.init(spec)
    data.set_samples(0, 2)
    output = library.ImageOutput.create(str(tmp_path / "a.exr"))
    assert output.open(str(tmp_path / "a.exr"), spec)
    assert output.write_deep_image(data)
    output.close()
    with pytest.raises(ValueError, match=r"a\.exr as an image: it is a deep image"):
        load_image(tmp_path / "a.exr")


def test_pfm_begins_with_its_bottom_row(tmp_path: Path) -> None:
    save_image(torch.tensor([[[0.25]], [[1.5]]]), tmp_path / "a.pfm")
    assert (tmp_path / "a.pfm").read_bytes() == b"Pf\n1 2\n-1.0\n" + struct.pack("<2f", 1.5, 0.25)


def test_arrays_hold_any_number_of_channels(tmp_path: Path) -> None:
    save_image(torch.rand(2, 3, 7), tmp_path / "a.npy")
    assert np.load(tmp_path / "a.npy").shape == (2, 3, 7)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path: Path, orientation: int) -> None:
    picture = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "a.png", exif=exif)
    stored = torch.from_numpy(np.asarray(picture).astype(np.float32) / 255)
    torch.testing.assert_close(load_image(tmp_path / "a.png", orient=False), stored)
    turned = load_image(tmp_path / "a.png")
    # Where the first stored pixel belongs, by the standard's table.
    row, column = [(0, 0), (0, -1), (-1, -1), (-1, 0), (0, 0), (0, -1), (-1, -1), (-1, 0)][orientation - 1]
    assert turned.shape[:2] == ((2, 4) if orientation < 5 else (4, 2))
    torch.testing.assert_close(turned[row, column], stored[0, 0])
    torch.testing.assert_close(_oriented(stored, orientation), turned)


@pytest.mark.parametrize("name", ["a.exr", "a.hdr", "a.pfm", "a.npy", "a.tif", "a.jpg"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match=re.escape(f"cannot read {tmp_path / name}")):
        load_image(tmp_path / name)


def test_images_of_gigapixels_are_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I4sI", 0, b"IDAT", 0))
    with pytest.raises(ValueError, match="cannot read"):
        load_image(tmp_path / "a.png")


def test_a_gif_of_one_tensor(tmp_path: Path) -> None:
    frames = torch.linspace(0, 1, 3)[:, None, None, None].expand(3, 4, 5, 3)
    save_gif(frames, tmp_path / "tensor.gif")
    save_gif(list(frames), tmp_path / "list.gif")
    assert (tmp_path / "tensor.gif").read_bytes() == (tmp_path / "list.gif").read_bytes()
    with pytest.raises(ValueError, match="at least one image"):
        save_gif(frames[:0], tmp_path / "none.gif")


@pytest.mark.parametrize("suffix", ["png", "npy"])
def test_arrays_are_not_images(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(TypeError, match=r"image: expected a torch\.Tensor, got ndarray; torch\.from_numpy"):
        save_image(np.zeros((2, 2, 3), np.float32), tmp_path / f"a.{suffix}")
