"""Image files: row 0 is the top, values as the file holds them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import installed, require
from lumigrad.types.validation import as_path, number, tensor

if TYPE_CHECKING:
    from PIL import Image


# Suffixes of files with linear floating-point values, not limited to [0, 1].
LINEAR = (".exr", ".hdr", ".pfm", ".npy")


def from_pil(picture: Image.Image) -> Tensor:
    """Float32 tensor [H, W, 3], or [H, W, 4] where the picture has transparency.

    Integers are scaled to [0, 1] by the largest value of their type; floating-point values stay as they are.
    """
    if picture.mode == "F":
        return _as_image(np.asarray(picture, dtype=np.float32))
    if picture.mode == "I" or picture.mode.startswith("I;16"):
        values = np.asarray(picture).astype(np.int64)
        # Pillow also opens 16-bit files in mode "I": few files use its 32-bit integers, and all of those exceed 16
        # bits.
        wide = picture.mode == "I" and (values.max(initial=0) > 65535 or values.min(initial=0) < 0)
        return _as_image((values / (2**31 - 1 if wide else 65535)).astype(np.float32))
    transparent = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info
    array = np.asarray(picture.convert("RGBA" if transparent else "RGB"), dtype=np.float32)
    return torch.from_numpy(array / 255)


def _as_image(values: np.ndarray) -> Tensor:
    """[H, W], [H, W, 1], [H, W, 2] (grey and alpha), [H, W, 3] or more, as [H, W, 3 or 4]."""
    values = values[..., None] if values.ndim == 2 else values
    if values.shape[-1] <= 2:
        values = np.concatenate([values[..., :1].repeat(3, axis=-1), values[..., 1:]], axis=-1)
    return torch.from_numpy(np.ascontiguousarray(values[..., :4], dtype=np.float32))


def _channels_first(image: Tensor) -> str:
    first = image.ndim == 3 and image.shape[0] in (1, 3, 4)
    return "; channels come last: image.permute(1, 2, 0)" if first else ""


def to_pil(image: Tensor, name: str = "image") -> Image.Image:
    """8-bit picture from [H, W, 1, 3 or 4]; values outside [0, 1] are clamped, NaN becomes 0."""
    if tensor(name, image).is_complex():
        raise TypeError(f"{name}: expected real numbers, got {str(image.dtype).removeprefix('torch.')}")
    if image.ndim != 3 or image.shape[-1] not in (1, 3, 4):
        raise ValueError(f"{name}: expected [H, W, 1, 3 or 4], got {list(image.shape)}{_channels_first(image)}")
    from PIL import Image

    values = torch.nan_to_num(image.detach().float().cpu()).clamp(0, 1)
    array = (values * 255 + 0.5).to(torch.uint8).numpy()
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def load_image(path: str | Path, orient: bool = True) -> Tensor:
    """Read an image as float32 [H, W, 3 or 4], with the values that the file holds.

    Args:
        path: any format that Pillow reads, 8 or 16 bits per channel or floating point; OpenEXR, Radiance HDR and PFM
            (through OpenImageIO); or a NumPy array of [H, W] or [H, W, C]. Grey images get three equal channels. Of an
            OpenEXR file, the first layer or view in colour, in its display window.
        orient: apply the orientation that a camera noted in the file (EXIF). Camera poses that were computed from
            stored pixels, as by COLMAP, need False.

    Returns:
        Integers scaled to [0, 1], display-encoded (sRGB) as files hold them. Floating-point values as they are: the
        formats in `LINEAR` hold linear radiance, of any size.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable image, or has so many pixels that it may be an attack.
        MissingPackageError: the package that reads the format is not installed.

    >>> import torch
    >>> from lumigrad.io import load_image, save_image
    >>> save_image(torch.tensor([[[1.0, 0.0, 0.2]]]), "pixel.png")
    >>> load_image("pixel.png")
    tensor([[[1.0000, 0.0000, 0.2000]]])
    """
    path = as_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _load_array(path)
    if suffix == ".pfm":
        return _load_pfm(path)
    if suffix in LINEAR:
        return _load_floats(path)
    pillow, operations = (require(name, "lumigrad.io.load_image") for name in ("PIL.Image", "PIL.ImageOps"))
    try:
        with pillow.open(path) as picture:
            if _has_16_bit_colours(picture) and installed("OpenImageIO"):
                values = _load_floats(path)
                return _oriented(values, picture.getexif().get(_ORIENTATION, 1)) if orient else values
            return from_pil(operations.exif_transpose(picture) if orient else picture)
    except (OSError, SyntaxError, pillow.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from error


def holds_linear(path: Path) -> bool:
    """Whether an image file holds linear radiance: floating-point values of whatever format."""
    if path.suffix.lower() in LINEAR:
        return True
    pillow = require("PIL.Image", "lumigrad.io.load_image")
    try:
        with pillow.open(path) as picture:
            return bool(picture.mode == "F")
    except (OSError, SyntaxError, pillow.DecompressionBombError):
        return False


_LARGEST_WINDOW = 2**28  # pixels
_ORIENTATION = 0x0112  # EXIF's tag


def _has_16_bit_colours(picture: Image.Image) -> bool:
    """Whether Pillow would drop half of the bits: it only holds colours with 8 bits per channel."""
    return picture.mode in ("RGB", "RGBA", "LA") and any(";16" in str(tile[3]) for tile in getattr(picture, "tile", ()))


def _oriented(image: Tensor, orientation: int) -> Tensor:
    """EXIF's eight orientations: a transposition, then flips of rows and columns."""
    transposed, flips = orientation >= 5, {2: [1], 3: [0, 1], 4: [0], 6: [1], 7: [0, 1], 8: [0]}.get(orientation, [])
    return (image.transpose(0, 1) if transposed else image).flip(flips).contiguous()


def _load_array(path: Path) -> Tensor:
    try:
        values = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"cannot read {path} as an array: {error}") from error
    if values.ndim not in (2, 3) or values.dtype.kind not in "fiu" or 0 in values.shape:
        raise ValueError(f"cannot read {path} as an image: it holds {values.dtype} {list(values.shape)}")
    scale = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
    return _as_image((values / scale).astype(np.float32))


def _load_pfm(path: Path) -> Tensor:
    """Portable float map, the counterpart of `_save_pfm`. The sign of the scale is the byte order."""
    data = path.read_bytes()
    header = re.match(rb"(P[Ff])\s+(\d+)\s+(\d+)\s+(-?[\d.]+)\s", data)
    if header is None:
        raise ValueError(f"cannot read {path} as an image: it does not begin as a portable float map")
    width, height, channels = int(header[2]), int(header[3]), 3 if header[1] == b"PF" else 1
    if len(data) < header.end() + 4 * width * height * channels or width * height == 0:
        raise ValueError(f"cannot read {path} as an image: it is shorter than its {width} x {height} pixels")
    order = "<f4" if float(header[4]) < 0 else ">f4"
    values = np.frombuffer(data, order, width * height * channels, header.end())
    return _as_image(values.reshape(height, width, channels)[::-1])


def _load_floats(path: Path) -> Tensor:
    library = require("OpenImageIO", f"reading {path.suffix} files")
    source = library.ImageInput.open(str(path))
    if source and source.spec().deep:
        raise ValueError(f"cannot read {path} as an image: it is a deep image, of any number of samples in a pixel")
    values = source.read_image(library.FLOAT) if source else None
    if values is None:
        raise ValueError(f"cannot read {path} as an image: {' '.join((source or library).geterror().split())}")
    spec = source.spec()
    values = values.reshape(spec.height, spec.width, spec.nchannels)[..., _shown_channels(spec.channelnames)]
    return _as_image(_in_display_window(values, spec) if path.suffix.lower() == ".exr" else values)


def _shown_channels(names: Sequence[str]) -> list[int]:
    """Which channels are colour and opacity: those of the first layer or view that has R, G and B, or else Y.

    Files hold other channels beside them: depths, normals, other views. Where no channel has such a name, the first.
    """
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names))
    for color in (("R", "G", "B"), ("Y",)):
        for layer in layers:
            found = {
                name.rpartition(".")[2].upper(): i for i, name in enumerate(names) if name.rpartition(".")[0] == layer
            }
            if found.keys() >= set(color):
                return [found[name] for name in (*color, "A") if name in found]
    return list(range(min(len(names), 4)))


def _in_display_window(values: np.ndarray, spec: Any) -> np.ndarray:
    """The full image, given the part that an OpenEXR file stores, which may lie anywhere; 0 where nothing is stored.

    Source: ASWF, "Technical Introduction to OpenEXR", display window and data window.
    """
    left, top, height, width = spec.x - spec.full_x, spec.y - spec.full_y, spec.full_height, spec.full_width
    if (left, top, height, width) == (0, 0, *values.shape[:2]) or not 0 < height * width <= _LARGEST_WINDOW:
        return values
    image = np.zeros((height, width, values.shape[2]), values.dtype)
    part = image[max(top, 0) : max(top + spec.height, 0), max(left, 0) : max(left + spec.width, 0)]
    part[:] = values[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
    return image


def save_image(image: Tensor, path: str | Path) -> None:
    """Write [H, W, 1, 3 or 4] in the format that the suffix names.

    Formats of 8 bits hold values in [0, 1], others are clamped. OpenEXR, Radiance HDR, PFM and NumPy arrays (`.npy`, of
    any number of channels) hold floating-point values as they are.

    Raises:
        ValueError: an unknown suffix or an unsuitable shape.
        MissingPackageError: the package that writes the format is not installed.

    >>> import torch
    >>> from lumigrad.io import load_image, save_image
    >>> save_image(torch.full((2, 3, 1), 0.5), "grey.png")  # 128 of 255
    >>> save_image(torch.full((2, 3, 1), 7.5), "bright.npy")  # any values
    >>> grey, bright = load_image("grey.png"), load_image("bright.npy")
    >>> grey.shape, round(grey[0, 0, 0].item() * 255), bright.max().item()
    (torch.Size([2, 3, 3]), 128, 7.5)
    """
    path = as_path("path", path)
    suffix = path.suffix.lower()
    tensor("image", image)
    if suffix not in LINEAR:
        pillow = require("PIL.Image", "lumigrad.io.save_image")
        if suffix not in pillow.registered_extensions():
            raise ValueError(f"cannot write {path}: unknown image format '{path.suffix}'")
        picture = to_pil(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        return
    values = image.detach().float().cpu().contiguous().numpy()
    if values.ndim != 3 or (suffix != ".npy" and values.shape[-1] not in (1, 3, 4)):
        raise ValueError(f"image: expected [H, W, 1, 3 or 4], got {list(image.shape)}{_channels_first(image)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".pfm":
        _save_pfm(values, path)
    else:
        _save_floats(values, path)


def _save_floats(values: np.ndarray, path: Path) -> None:
    library = require("OpenImageIO", f"writing {path.suffix} files")
    if path.suffix.lower() == ".hdr":
        values = np.ascontiguousarray(np.broadcast_to(values[..., :3], (*values.shape[:2], 3)))
    height, width, channels = values.shape
    output = library.ImageOutput.create(str(path))
    spec = library.ImageSpec(width, height, channels, library.FLOAT)
    if not (output and output.open(str(path), spec) and output.write_image(values) and output.close()):
        raise OSError(f"cannot write {path}: {output.geterror() if output else library.geterror()}")


def _save_pfm(values: np.ndarray, path: Path) -> None:
    """Portable float map: bottom row first, little-endian. Source: Debevec, the PFM file format."""
    grey = values.shape[-1] == 1
    rows = values[::-1] if grey else values[::-1, :, :3]
    header = f"{'Pf' if grey else 'PF'}\n{values.shape[1]} {values.shape[0]}\n-1.0\n"
    path.write_bytes(header.encode() + np.ascontiguousarray(rows, dtype="<f4").tobytes())


def as_frames(frames: object) -> Sequence[Tensor] | Tensor:
    """`frames` if it is a sequence, or a tensor with frames along its first dimension."""
    if isinstance(frames, Sequence) and not isinstance(frames, str):
        return frames
    checked = tensor("frames", frames)
    if checked.ndim != 4:
        raise ValueError(f"frames: expected [N, H, W, 1, 3 or 4], got {list(checked.shape)}")
    return checked


def save_gif(frames: Sequence[Tensor] | Tensor, path: str | Path, frames_per_second: float = 20.0) -> None:
    """Write frames [H, W, 3], or a tensor [N, H, W, 3], as an endless GIF.

    The frames share one palette, so that colours do not flicker.

    >>> from pathlib import Path
    >>> import torch
    >>> from lumigrad.io import save_gif
    >>> save_gif([torch.full((8, 8, 3), level) for level in (0.0, 0.5, 1.0)], "fade.gif", frames_per_second=10)
    >>> Path("fade.gif").read_bytes()[:6]
    b'GIF89a'
    """
    path = as_path("path", path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"cannot write {path}: expected .gif; save_video writes other formats")
    number("frames_per_second", frames_per_second, positive=True)
    if not len(as_frames(frames)):
        raise ValueError("frames: expected at least one image, got none")
    pillow = require("PIL.Image", "lumigrad.io.save_gif")
    pictures = [to_pil(frame, "frames").convert("RGB") for frame in frames]
    some = pictures[:: max(1, len(pictures) // 6)]
    sheet = pillow.new("RGB", (some[0].width * len(some), some[0].height))
    for column, picture in enumerate(some):
        sheet.paste(picture, (column * some[0].width, 0))
    palette = sheet.quantize(256, method=pillow.Quantize.MEDIANCUT)
    indexed = [picture.quantize(palette=palette, dither=pillow.Dither.NONE) for picture in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    # GIF measures time in hundredths of a second.
    duration = max(2, round(100 / frames_per_second)) * 10
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=duration, loop=0, optimize=False)
