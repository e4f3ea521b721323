"""Photographs with their cameras, read on demand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io._mask_files import find_masks
from lumigrad.io.image import load_image
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.undistort import undistort_image
from lumigrad.scene.shapes.point_cloud import PointCloud


@dataclass(frozen=True)
class PosedPhotos:
    """Photographs, their cameras, and the points of the reconstruction.

    Attributes:
        folder: where the data set is.
        paths: one file per photograph, in the order of the file names.
        cameras: one float64 camera per photograph, with the lens distortion that the data set gives.
        points: sparse points of the reconstruction, or None.
        masks: one image or None per photograph, or empty where there are none at all; white where pixels count.
        masks_are_alpha: whether masks show the object, so that photographs are transparent outside of it, instead of
            the pixels that count.
        held_out: numbers of the photographs that the data set (or the caller) keeps for evaluation; None where it does
            not say.
        downscale: photographs are loaded at one over this of their camera's size.
    """

    folder: Path
    paths: tuple[Path, ...]
    cameras: tuple[PerspectiveCamera, ...]
    points: PointCloud | None = None
    masks: tuple[Path | None, ...] = ()
    masks_are_alpha: bool = False
    held_out: tuple[int, ...] | None = None
    downscale: int = 1

    def __post_init__(self) -> None:
        if len(self.cameras) != len(self.paths):
            raise ValueError(f"cameras: expected {len(self.paths)}, one per photograph, got {len(self.cameras)}")
        if self.masks and len(self.masks) != len(self.paths):
            raise ValueError(f"masks: expected {len(self.paths)}, one per photograph, got {len(self.masks)}")
        if isinstance(self.downscale, bool) or not isinstance(self.downscale, int) or self.downscale < 1:
            raise ValueError(f"downscale: expected an integer of at least 1, got {self.downscale!r}")

    def __len__(self) -> int:
        return len(self.paths)

    def load(self, index: int) -> tuple[Tensor, PerspectiveCamera]:
        """One photograph, float32 [H, W, 3 or 4], unchanged, and its camera at that resolution.

        Raises:
            FileNotFoundError, ValueError: the file is missing, no image, or has another aspect ratio than the camera,
                even when turned upright (EXIF).
        """
        image = self._photograph(index)
        mask = self._stored_mask(index, (image.shape[0], image.shape[1])) if self.masks_are_alpha else None
        if mask is not None:
            image = torch.cat([image[..., :3], mask[..., None].to(image)], dim=-1)
        camera = self._camera_of(index, image)
        factor = self._factor(index, image)
        if factor == 1:
            return image, camera
        return averaged(image, factor), reduced(camera, factor)

    def load_mask(self, index: int) -> Tensor | None:
        """Which pixels of the photograph as loaded count, bool [H, W]; None where the data set does not say.

        Raises:
            FileNotFoundError, ValueError: as for `load`.
        """
        if self.masks_are_alpha or not self.masks or self.masks[index] is None:
            return None
        image = self._photograph(index)
        mask = self._stored_mask(index, (image.shape[0], image.shape[1]))
        assert mask is not None
        # A pixel counts if all pixels that are averaged into it do.
        return averaged(mask[..., None].float(), self._factor(index, image))[..., 0] > 0.999

    def load_undistorted(self, index: int) -> tuple[Tensor, Tensor, PerspectiveCamera]:
        """One photograph without distortion: image, pixels that count, bool [H, W], and camera.

        Pixels count that the lens has seen (see `undistort_image`) and that the mask, where there is one, leaves.
        """
        image, camera = self.load(index)
        mask = self.load_mask(index)
        image, covered, plain = undistort_image(image, camera)
        if mask is None:
            return image, covered, plain
        kept = undistort_image(mask[..., None].float(), camera)[0][..., 0] > 0.999
        return image, covered & kept, plain

    def with_masks(self, folder: Path | None = None) -> PosedPhotos:
        """The photographs with masks as their alpha channels; those that have no mask are left out, with a warning.

        Args:
            folder: of the masks, each named like its photograph (with the suffix of another kind of image, or another
                one after its own), in sub-folders where photographs are; None for the masks that the data set has.

        Raises:
            FileNotFoundError: there are none.
        """
        masks = self.masks
        if folder is not None:
            place = next((path for path in (self.folder / folder, folder) if path.is_dir()), None)
            if place is None:
                raise FileNotFoundError(f"masks: no such folder: {folder}")
            masks = find_masks(self.paths, self.folder, [place])
        kept = [number for number, mask in enumerate(masks) if mask is not None]
        if not kept:
            where = self.folder if folder is None else folder
            raise FileNotFoundError(f"masks: none of the {len(self)} photographs has one in {where}")
        if len(kept) < len(self):
            warnings.warn(
                f"{len(self) - len(kept)} of {len(self)} photographs have no mask and are left out", stacklevel=2
            )
        held_out = None
        if self.held_out is not None:
            held_out = tuple(place for place, number in enumerate(kept) if number in self.held_out)
        return replace(
            self,
            paths=tuple(self.paths[n] for n in kept),
            cameras=tuple(self.cameras[n] for n in kept),
            masks=tuple(masks[n] for n in kept),
            masks_are_alpha=True,
            held_out=held_out,
        )

    def split(self, every: int | None = None) -> tuple[list[int], list[int]]:
        """Indices to train on, and indices held out.

        Args:
            every: hold out every `every`-th photograph, beginning with the first. By default those of `held_out`, or
                every eighth where the data set does not say.

        Raises:
            ValueError: `every` below 2, or no photograph is left to train on or to hold out.
        """
        if every is not None and every < 2:
            raise ValueError(f"every: expected at least 2, got {every}")
        if len(self) < 2:
            raise ValueError(f"{self.folder}: expected at least two photographs, one to hold out, got {len(self)}")
        if every is None and self.held_out is not None:
            held_out = sorted(self.held_out)
        else:
            held_out = list(range(0, len(self), every or 8))
        train = sorted(set(range(len(self))) - set(held_out))
        if not train or not held_out:
            raise ValueError(f"{self.folder}: {len(train)} photographs to train on and {len(held_out)} held out")
        return train, held_out

    def _photograph(self, index: int) -> Tensor:
        """The pixels to which the pose refers: those stored, unless only the upright photograph has the camera's shape.

        COLMAP computes poses from stored pixels; programs that turn photographs as their EXIF data say do not.
        """
        path, camera = self.paths[index], self.cameras[index]
        stored = load_image(path, orient=False)
        if _has_shape(stored, camera):
            return stored
        upright = load_image(path)
        return upright if _has_shape(upright, camera) else stored

    def _camera_of(self, index: int, image: Tensor) -> PerspectiveCamera:
        """The camera at the resolution of the stored image."""
        size, camera = (image.shape[0], image.shape[1]), self.cameras[index]
        if size == camera.size:
            return camera
        if not _has_shape(image, camera):
            expected = f"{camera.size[1]} x {camera.size[0]}"
            raise ValueError(f"{self.paths[index]}: {size[1]} x {size[0]} pixels, but its camera has {expected}")
        return camera.resized(size)

    def _factor(self, index: int, image: Tensor) -> int:
        """The factor by which the stored image is averaged down, given its present size."""
        return max(1, round(self.downscale * image.shape[0] / self.cameras[index].size[0]))

    def _stored_mask(self, index: int, size: tuple[int, int]) -> Tensor | None:
        """The mask of a photograph at the size of its file, bool [H, W]."""
        path = self.masks[index] if self.masks else None
        if path is None:
            return None
        values = load_image(path, orient=False)[..., :3].mean(-1)
        if tuple(values.shape) != size:
            values = torch.nn.functional.interpolate(values[None, None], size=size, mode="nearest-exact")[0, 0]
        return values > 0.5


def _has_shape(image: Tensor, camera: PerspectiveCamera) -> bool:
    """Whether a photograph has the aspect ratio of its camera's."""
    # Copies at lower resolutions are common; their sizes are rounded.
    scales = image.shape[0] / camera.size[0], image.shape[1] / camera.size[1]
    return abs(scales[0] / scales[1] - 1) <= 0.02


def averaged(image: Tensor, factor: int) -> Tensor:
    """Means [H // factor, W // factor, C] of blocks; rows and columns that do not fill one are dropped.

    Raises:
        ValueError: an image smaller than one block.
    """
    if factor == 1:
        return image
    if min(image.shape[:2]) < factor:
        raise ValueError(f"downscale: {image.shape[1]} x {image.shape[0]} pixels cannot be reduced by {factor}")
    return torch.nn.functional.avg_pool2d(image.permute(2, 0, 1)[None], factor)[0].permute(1, 2, 0)


def reduced(camera: PerspectiveCamera, factor: int) -> PerspectiveCamera:
    """The camera of an image that is averaged down as by `averaged`."""
    height, width = camera.size
    intrinsics = {name: getattr(camera, name) / factor for name in ("fx", "fy", "cx", "cy")}
    return replace(camera, size=(height // factor, width // factor), **intrinsics)
