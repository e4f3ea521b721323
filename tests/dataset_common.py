"""Small data sets on disk: photographs of coloured blobs from all around."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import torch

import lumigrad as lg
from lumigrad.io import save_image
from lumigrad.scene import PerspectiveCamera
from lumigrad.scene.cameras.conventions import to_colmap, to_transforms

NUMBER_OF_MODEL = {"PINHOLE": 1, "OPENCV": 4, "OPENCV_FISHEYE": 5, "FULL_OPENCV": 6}


def ring(count: int = 9, size: tuple[int, int] = (24, 32)) -> PerspectiveCamera:
    azimuth = torch.arange(count, dtype=torch.float64) * (360.0 / count)
    return PerspectiveCamera.orbit(azimuth, 20 + 10 * torch.sin(3 * azimuth), 4.0, 40.0, size)


def photograph(camera: PerspectiveCamera) -> torch.Tensor:
    """What each camera sees of some Gaussians, [N, H, W, 3]."""
    random = torch.Generator().manual_seed(0)
    means = torch.rand(40, 3, generator=random) * 1.6 - 0.8
    colors = torch.rand(40, 3, generator=random)
    quats = torch.tensor([1.0, 0, 0, 0]).expand(40, 4)
    tensors = [value.float() for value in (camera.world_to_camera, camera.fx, camera.fy, camera.cx, camera.cy)]
    view = lg.View(*tensors, camera.size)
    return lg.gaussians(means, quats, torch.full((40, 3), 0.12), torch.full((40,), 0.9), colors, view).image


def write_transforms(folder: Path, camera: PerspectiveCamera | None = None) -> Path:
    camera = ring() if camera is None else camera
    names = [f"images/{i:03d}.png" for i in range(camera.shape[0])]
    for name, image in zip(names, photograph(camera), strict=True):
        save_image(image, folder / name)
    (folder / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))
    return folder


def colmap_text(camera: PerspectiveCamera) -> dict[str, str]:
    qvec, tvec, model, params = to_colmap(camera)
    height, width = camera.size
    files = {"cameras.txt": "# cameras\n", "images.txt": "# images\n", "points3D.txt": "# points\n"}
    for i in range(camera.shape[0]):
        numbers = " ".join(f"{value:.17g}" for value in params[i])
        files["cameras.txt"] += f"{i + 5} {model} {width} {height} {numbers}\n"
        pose = " ".join(f"{value:.17g}" for value in [*qvec[i].tolist(), *tvec[i].tolist()])
        # The second line of every other image is empty: no points were seen.
        files["images.txt"] += f"{i + 1} {pose} {i + 5} {i:03d}.png\n" + ("" if i % 2 else "1.5 2.5 -1 3 4 7") + "\n"
    files["points3D.txt"] += "7 0.5 -0.25 1 255 0 51 0.3 1 0 2 1\n8 1 2 3 0 255 0 0.1\n"
    return files


def colmap_binary(camera: PerspectiveCamera) -> dict[str, bytes]:
    qvec, tvec, model, params = to_colmap(camera)
    height, width = camera.size
    count = camera.shape[0]
    files = {name: struct.pack("<Q", count) for name in ("cameras.bin", "images.bin")}
    for i in range(count):
        values = params[i].tolist()
        files["cameras.bin"] += struct.pack("<iiQQ", i + 5, NUMBER_OF_MODEL[model], width, height)
        files["cameras.bin"] += struct.pack(f"<{len(values)}d", *values)
        files["images.bin"] += struct.pack("<i7di", i + 1, *qvec[i].tolist(), *tvec[i].tolist(), i + 5)
        files["images.bin"] += f"{i:03d}.png".encode() + b"\0" + struct.pack("<Q2dq", 1, 1.5, 2.5, 7)
    files["points3D.bin"] = struct.pack("<Q", 2)
    files["points3D.bin"] += struct.pack("<Q3d3BdQ2i2i", 7, 0.5, -0.25, 1, 255, 0, 51, 0.3, 2, 1, 0, 2, 1)
    files["points3D.bin"] += struct.pack("<Q3d3BdQ", 8, 1, 2, 3, 0, 255, 0, 0.1, 0)
    return files


def write_colmap(folder: Path, camera: PerspectiveCamera, binary: bool) -> Path:
    (folder / "sparse" / "0").mkdir(parents=True)
    for i, image in enumerate(photograph(camera)):
        save_image(image, folder / "images" / f"{i:03d}.png")
    files = colmap_binary(camera) if binary else {k: v.encode() for k, v in colmap_text(camera).items()}
    for name, content in files.items():
        (folder / "sparse" / "0" / name).write_bytes(content)
    return folder
