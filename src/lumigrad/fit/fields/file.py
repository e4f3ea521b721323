"""Fitted fields in files, without the photographs that they were fitted to."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lumigrad.fit._atomic_file import replacing
from lumigrad.fit.fields.hashed import HashField
from lumigrad.fit.fields.model import Seen, Surroundings
from lumigrad.fit.fields.state import FieldState
from lumigrad.fit.fields.voxels import Voxels
from lumigrad.fit.photos import Photo
from lumigrad.fit.preview import upright
from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera

_MODELS = {"voxels": Voxels, "hash": HashField}


class FittedField(NamedTuple):
    """A fitted field.

    Attributes:
        model, state: `model.picture(state, camera)` draws it.
        up: the upward direction in the photographs, [3].
        cameras: those of the photographs, [N].
    """

    model: Voxels | HashField
    state: FieldState
    up: Tensor
    cameras: PerspectiveCamera

    def picture(self, camera: Camera) -> Seen:
        """Images of a camera [1]; see `FieldModel.picture`."""
        return self.model.picture(self.state, camera)


def save_field(model: Voxels | HashField, state: FieldState, photos: Sequence[Photo], path: str | Path) -> None:
    """Write a field and the cameras [N] of its photographs, as NumPy's `savez`.

    >>> import torch
    >>> from lumigrad.fit.fields import Schedule, Voxels, load_field, save_field
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model = Voxels(photos, boxes=2)
    >>> save_field(model, model.begin(Schedule(levels=((0.0, 8, 0),), iterations=1)), photos, "field.npz")
    >>> load_field("field.npz").picture(around[:1]).color.shape
    torch.Size([1, 16, 16, 3])
    """
    kind = next(name for name, of in _MODELS.items() if isinstance(model, of))
    values: dict[str, Any] = {"kind": kind, "centre": _array(model.centre), "extent": model.extent}
    values |= {"options": np.array(model.options), "background": model.background}
    for name in ("parameters", "occupied"):
        values |= {f"{name}.{n}": _array(one) for n, one in enumerate(getattr(state, name))}
    cameras = [photo.camera.resized(photos[0].camera.size) for photo in photos]
    values["world_to_camera"] = _array(torch.cat([camera.world_to_camera for camera in cameras]))
    values["intrinsics"] = _array(torch.cat([torch.stack([c.fx, c.fy, c.cx, c.cy], -1) for c in cameras]))
    values["size"] = np.array(cameras[0].size)
    with replacing(Path(path)) as file:
        np.savez(file, **values)


def load_field(path: str | Path) -> FittedField:
    """Load a field that `save_field` wrote, on the CPU.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is none of a field.

    >>> import torch
    >>> from lumigrad.fit.fields import HashField, Schedule, load_field, save_field
    >>> from lumigrad.fit.photos import Photo
    >>> from lumigrad.scene import PerspectiveCamera
    >>> around = PerspectiveCamera.orbit(torch.tensor([0.0, 60.0, 120.0]), 0.0, 3.0, fov_y=45.0, size=(16, 16))
    >>> image, covered = torch.full((1, 16, 16, 3), 0.5), torch.ones(1, 16, 16, 1)
    >>> photos = [Photo(image, covered, around[n : n + 1]) for n in range(3)]
    >>> model = HashField(photos, rows=2**8)
    >>> save_field(model, model.begin(Schedule(iterations=1)), photos, "field.npz")
    >>> field = load_field("field.npz")
    >>> field.cameras.shape, field.up
    (torch.Size([3]), tensor([0., 1., 0.]))
    """
    try:
        with np.load(path) as saved:
            return _field_of({name: saved[name] for name in saved.files})
    except (KeyError, TypeError, EOFError, RuntimeError, IndexError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a field written by lumigrad: {error}") from error


def _field_of(values: dict[str, np.ndarray]) -> FittedField:
    _check_shapes(values)
    around = Surroundings(torch.from_numpy(values["centre"]), float(values["extent"]))
    options = [int(value) for value in values["options"]]
    model = _MODELS[str(values["kind"])](around, *options, background=float(values["background"]))
    state = FieldState.start(_tensors(values, "parameters"))
    state.occupied = _tensors(values, "occupied")
    model.check(state)
    poses, intrinsics = (torch.from_numpy(values[name]) for name in ("world_to_camera", "intrinsics"))
    numbers = [around.centre, torch.tensor([around.extent, model.background]), poses, intrinsics, *state.parameters]
    if around.extent <= 0 or not all(bool(one.isfinite().all()) for one in numbers):
        raise ValueError("expected finite numbers, and an extent above 0")
    height, width = (int(side) for side in values["size"])
    fx, fy, cx, cy = intrinsics.unbind(-1)
    return FittedField(model, state, upright(poses), PerspectiveCamera(poses, fx, fy, cx, cy, (height, width)))


def _check_shapes(values: dict[str, np.ndarray]) -> None:
    """Raise ValueError if an array has the wrong shape."""
    count = len(values["world_to_camera"])
    shapes: dict[str, tuple[int, ...]] = {
        "kind": (), "extent": (), "background": (), "centre": (3,), "size": (2,),
        "world_to_camera": (count, 4, 4), "intrinsics": (count, 4),
    }  # fmt: skip
    for name, shape in shapes.items():
        if values[name].shape != shape:
            raise ValueError(f"{name}: expected shape {list(shape)}, got {list(values[name].shape)}")


def _tensors(values: dict[str, np.ndarray], name: str) -> list[Tensor]:
    count = sum(key.startswith(f"{name}.") for key in values)
    return [torch.from_numpy(values[f"{name}.{n}"]) for n in range(count)]


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
