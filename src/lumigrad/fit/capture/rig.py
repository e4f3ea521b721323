"""Recordings of a mesh with fixed faces by several synchronised cameras, as a folder."""

from __future__ import annotations

import hashlib
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.fit.capture.pairing import paired
from lumigrad.io._mask_files import IMAGE_SUFFIXES
from lumigrad.io._photo_files import natural, pixels
from lumigrad.io._problems import Notes
from lumigrad.io._transforms import transforms_cameras
from lumigrad.io.gltf.document import Document
from lumigrad.io.mesh import READABLE, load_mesh
from lumigrad.io.photos import PosedPhotos
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.shapes import Float, Int

CAMERA_FILES = ("cameras.json", "transforms.json")
# Bytes of images that are kept in memory; others are read again when needed.
_KEPT_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Take:
    """A sequence: images [frame][camera], in order."""

    name: str
    paths: tuple[tuple[Path, ...], ...]

    def __len__(self) -> int:
        return len(self.paths)


@dataclass
class CaptureRig:
    """Cameras, the base mesh, and sequences of images; `load_rig` reads it from a folder.

    Attributes:
        folder: where it is.
        base: the mesh of which every frame is a deformation, with texture coordinates.
        names: of the cameras, [C].
        camera: the cameras [C], without distortion, at the size of the images, in the world of the mesh.
        takes: the sequences.
        background: what is seen past the mesh: a display-encoded colour.
        downscale: images are averaged down by this factor.
    """

    folder: Path
    base: Mesh
    names: tuple[str, ...]
    camera: PerspectiveCamera
    takes: tuple[Take, ...]
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    downscale: int = 1
    _cameras: tuple[PerspectiveCamera, ...] = ()
    _kept: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    _kept_bytes: int = 0

    @property
    def counts(self) -> tuple[int, ...]:
        """Frames of each sequence."""
        return tuple(len(take) for take in self.takes)

    @property
    def frames(self) -> int:
        """The number of frames in all sequences, numbered one sequence after the other."""
        return sum(self.counts)

    def images(self, frames: Int[Tensor, " n"], cameras: Int[Tensor, " n"]) -> Float[Tensor, "n height width 4"]:
        """Colours over the background, and which pixels count (0 or 1).

        Raises:
            FileNotFoundError, ValueError: a file is missing, or no image.
        """
        found = [self._image(int(f), int(c)) for f, c in zip(frames, cameras, strict=True)]
        return torch.stack(found).float() / 255

    def _image(self, frame: int, camera: int) -> Tensor:
        key = (frame, camera)
        if key not in self._kept:
            image = self._read(frame, camera)
            if self._kept_bytes + image.numel() > _KEPT_BYTES:
                return image
            self._kept[key] = image
            self._kept_bytes += image.numel()
        return self._kept[key]

    def _read(self, frame: int, camera: int) -> Tensor:
        """One image, uint8 [H, W, 4]."""
        take = 0
        while frame >= len(self.takes[take]):
            frame, take = frame - len(self.takes[take]), take + 1
        path = self.takes[take].paths[frame][camera]
        one = PosedPhotos(path.parent, (path,), (self._cameras[camera],), downscale=self.downscale)
        image, covered, _ = one.load_undistorted(0)
        color = image[..., :3]
        if image.shape[-1] == 4:
            color = color * image[..., 3:] + color.new_tensor(self.background) * (1 - image[..., 3:])
        if tuple(color.shape[:2]) != self.camera.size:
            height, width = self.camera.size
            raise ValueError(f"{path}: expected {width} x {height} pixels, got {color.shape[1]} x {color.shape[0]}")
        return (torch.cat([color, covered[..., None].to(color)], -1) * 255).round().clamp(0, 255).byte()

    def digest(self) -> str:
        """A digest of the cameras, the files' names and sizes, and the first frames, which identifies the recording."""
        found = hashlib.sha256()
        for name in ("world_to_camera", "fx", "fy", "cx", "cy"):
            found.update(getattr(self.camera, name).contiguous().numpy().tobytes())
        for camera in self._cameras:
            found.update(type(camera.distortion).__name__.encode())
            for value in vars(camera.distortion).values() if camera.distortion else ():
                found.update(value.contiguous().numpy().tobytes())
        for take in self.takes:
            for number, row in enumerate(take.paths):
                for path in row:
                    found.update(f"{take.name}/{path.name}:{path.stat().st_size}".encode())
                    if number == 0:
                        found.update(path.read_bytes())
        return found.hexdigest()


def load_rig(
    folder: str | Path, downscale: int = 1, background: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> CaptureRig:
    """Read a recording::

        RIG/cameras.json            or transforms.json: a frame for each camera, whose file_path is the camera's name
        RIG/base.obj                or .glb, .gltf, .ply: the mesh, with texture coordinates
        RIG/CAMERA/0000.png         one folder for each camera; or, for several sequences,
        RIG/SEQUENCE/CAMERA/0000.png

    Cameras are those of a transforms.json, as instant-ngp and nerfstudio write it, with the size of the images. Images
    of one frame have the same name in the folders of all cameras, or the same number: the one that differs within a
    folder. All images of the recording have one size; of large recordings, only the first and the last of each camera
    are opened before they are needed. Folders without any camera's folder are left alone.

    The shape of a glTF file with morph targets or a skin is that of its default weights and of its joints as they
    stand; that they are not used beyond this is said.

    Args:
        downscale: by which images are averaged down.
        background: what is seen past the mesh, display-encoded.

    Raises:
        FileNotFoundError: no folder, cameras, mesh, or images; a camera that has none.
        ValueError: a mesh without texture coordinates; a camera without a name; images that cannot be paired by their
            names, or a camera that lacks one; images of several sizes, or of another aspect ratio than their camera's;
            folders of cameras beside sequences.

    Warns:
        UserWarning: the mesh has morph targets or a skin.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    base = _base(folder)
    names, cameras = _cameras(folder)
    takes = _takes(folder, names)
    size = _size(takes)
    fitted = tuple(_fitted(camera, size, name) for name, camera in zip(names, cameras, strict=True))
    rig = CaptureRig(folder, base, names, _stacked(fitted, downscale), takes, background, downscale, fitted)
    height, width = rig.camera.size
    if min(height, width) < 8:
        raise ValueError(f"downscale: {width} x {height} pixels are less than 8 rows or columns")
    return rig


def _base(folder: Path) -> Mesh:
    found = [path for path in sorted(folder.glob("base.*")) if path.suffix.lower() in READABLE]
    if len(found) != 1:
        got = ", ".join(path.name for path in found) or "none"
        raise FileNotFoundError(f"{folder}: expected one mesh base.obj, .glb, .gltf or .ply, got {got}")
    mesh = load_mesh(found[0], materials=False)
    if mesh.uvs is None:
        raise ValueError(f"{found[0]}: expected a mesh with texture coordinates")
    if found[0].suffix.lower() in (".glb", ".gltf"):
        _say_what_is_left(found[0])
    return Mesh(mesh.positions, mesh.faces, mesh.uvs, mesh.uv_faces)


def _say_what_is_left(path: Path) -> None:
    """Warn of deformations in a glTF file that a capture does not use."""
    document = Document(path, Notes(path)).json
    primitives = [part for mesh in document.get("meshes", []) for part in mesh.get("primitives", [])]
    has = [
        name
        for name, there in (
            ("morph targets", any(part.get("targets") for part in primitives)),
            ("a skin", any("skin" in node for node in document.get("nodes", []))),
        )
        if there
    ]
    if has:
        warnings.warn(
            f"{path}: it has {' and '.join(has)}; the capture begins with the shape as it stands in the file, and "
            "finds its own deformations",
            stacklevel=4,
        )


def _cameras(folder: Path) -> tuple[tuple[str, ...], tuple[PerspectiveCamera, ...]]:
    path = next((folder / name for name in CAMERA_FILES if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: expected {' or '.join(CAMERA_FILES)}")
    listed, cameras = transforms_cameras(path)
    names = tuple(_camera_name(name) for name in listed)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: camera {twice} is listed more than once; expected one frame for each camera")
    return names, cameras


def _camera_name(file_path: str) -> str:
    """The camera of a file_path: its last part or, for an image, its folder."""
    parts = [part for part in re.split(r"[/\\]", file_path) if part not in ("", ".")]
    if not parts:
        raise ValueError(f"file_path: expected the name of a camera or of an image in its folder, got {file_path!r}")
    return parts[-2] if len(parts) > 1 and Path(parts[-1]).suffix.lower() in IMAGE_SUFFIXES else parts[-1]


def _takes(folder: Path, names: tuple[str, ...]) -> tuple[Take, ...]:
    """The sequences: the folder itself, or those in it that have cameras' folders."""
    direct = next((name for name in names if (folder / name).is_dir()), None)
    places = [place for place in sorted(folder.iterdir(), key=natural) if place.is_dir() and place.name not in names]
    found = [place for place in places if any((place / name).is_dir() for name in names)]
    if direct is not None and found:
        raise ValueError(
            f"{folder}: expected folders of cameras, or of sequences that have them, got both: {direct} and "
            f"{found[0].name}"
        )
    if direct is not None:
        return (_take(folder, "sequence", names),)
    if not found:
        raise FileNotFoundError(f"{folder}: expected folders named like the cameras, such as {names[0]}")
    return tuple(_take(place, place.name, names) for place in found)


def _take(place: Path, name: str, names: tuple[str, ...]) -> Take:
    images = {}
    for camera in names:
        if not (place / camera).is_dir():
            raise FileNotFoundError(f"{place}: no folder of camera {camera}")
        images[camera] = [path for path in (place / camera).iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
        if not images[camera]:
            raise FileNotFoundError(f"{place / camera}: no images of camera {camera}")
    return Take(name, paired(place, images))


def _size(takes: tuple[Take, ...]) -> tuple[int, int]:
    """(height, width) of all images. Only the first and last image of every camera are opened here, others when they
    are read."""
    first = takes[0].paths[0][0]
    width, height = pixels(first)
    for path in (path for take in takes for row in {take.paths[0], take.paths[-1]} for path in row):
        if pixels(path) != (width, height):
            other = "{} x {}".format(*pixels(path))
            raise ValueError(f"{path}: {other} pixels, and {first} has {width} x {height}; expected one size")
    return height, width


def _fitted(camera: PerspectiveCamera, size: tuple[int, int], name: str) -> PerspectiveCamera:
    """A camera at the size of the images."""
    if abs(size[0] * camera.size[1] / (size[1] * camera.size[0]) - 1) > 0.02:
        raise ValueError(
            f"camera {name}: expected images like {camera.size[1]} x {camera.size[0]}, got {size[1]} x {size[0]}"
        )
    return camera if camera.size == size else camera.resized(size)


def _stacked(cameras: tuple[PerspectiveCamera, ...], downscale: int) -> PerspectiveCamera:
    """All cameras [C], float32, without distortion."""
    matrix, *intrinsics = (
        torch.stack([getattr(camera, name) for camera in cameras]).double()
        for name in ("world_to_camera", "fx", "fy", "cx", "cy")
    )
    fx, fy, cx, cy = (values / downscale for values in intrinsics)
    height, width = cameras[0].size
    size = (height // downscale, width // downscale)
    return PerspectiveCamera(matrix, fx, fy, cx, cy, size).to(torch.float32)
