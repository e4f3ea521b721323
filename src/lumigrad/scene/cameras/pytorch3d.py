"""Cameras from and to PyTorch3D's conventions.

PyTorch3D takes a world point X (a row vector) to X R + T, in a camera space with x to the left, y up, and z into the
scene. NDC also have x to the left and y up; they span [-1, 1] over the shorter side of the image, and more over the
longer one. Screen space is lumigrad's pixel space. Where a PyTorch3D camera has no clip planes, `near` and `far` set
lumigrad's.

`lumigrad.compat.pytorch3d` builds its camera classes on the functions of intrinsics at the end of this module.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import Camera, PerspectiveCamera, check_size
from lumigrad.scene.cameras.orthographic import OrthographicCamera
from lumigrad.scene.cameras.pose import Scalar, as_float, homogeneous
from lumigrad.types.shapes import Float

Pair = Tensor | Sequence[float] | float

# From PyTorch3D's camera space to OpenGL's, and back.
_FLIP = (-1.0, 1.0, -1.0)


def from_pytorch3d_fov(
    R: Float[Tensor, "... 3 3"],
    T: Float[Tensor, "... 3"],
    size: tuple[int, int],
    fov: Scalar = 60.0,
    degrees: bool = True,
    aspect_ratio: Scalar = 1.0,
    znear: float = 1.0,
    zfar: float = 100.0,
) -> PerspectiveCamera:
    """Camera of `FoVPerspectiveCameras`.

    Args:
        R, T: [..., 3, 3] and [..., 3].
        size: (height, width) in pixels.
        fov: field of view along the shorter side of the image.
        aspect_ratio: width of a pixel by its height.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> R, T = torch.eye(3), torch.tensor([0.0, 0.0, 3.0])
    >>> camera = pytorch3d.from_pytorch3d_fov(R, T, size=(256, 256), fov=60.0)
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])).round(decimals=2)  # its x points to the left
    tensor([[128.0000, 128.0000],
            [ 54.1000, 128.0000]])
    """
    matrix = _world_to_camera(R, T)
    focal = fov_intrinsics(as_float(fov, "fov", matrix), as_float(aspect_ratio, "aspect_ratio", matrix), degrees)
    pair = torch.stack(torch.broadcast_tensors(*focal), dim=-1)
    return PerspectiveCamera(matrix, *_to_pixels(pair, (0.0, 0.0), True, size, matrix), size, znear, zfar)


def from_pytorch3d_perspective(
    R: Float[Tensor, "... 3 3"],
    T: Float[Tensor, "... 3"],
    size: tuple[int, int],
    focal_length: Pair = 1.0,
    principal_point: Pair = (0.0, 0.0),
    in_ndc: bool = True,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of `PerspectiveCameras`.

    Args:
        R, T: [..., 3, 3] and [..., 3].
        size: (height, width) in pixels.
        focal_length: [..., 2], or one number for both; in NDC, or in pixels.
        principal_point: [..., 2], in NDC, or in pixels.
        in_ndc: which of them.

    Raises:
        ValueError: shapes that do not fit.

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> R, T = torch.eye(3), torch.tensor([0.0, 0.0, 3.0])
    >>> camera = pytorch3d.from_pytorch3d_perspective(R, T, (256, 256), focal_length=2.0)
    >>> camera.fx.item(), camera.cx.item()
    (256.0, 128.0)
    """
    matrix = _world_to_camera(R, T)
    return PerspectiveCamera(matrix, *_to_pixels(focal_length, principal_point, in_ndc, size, matrix), size, near, far)


def from_pytorch3d_fov_orthographic(
    R: Float[Tensor, "... 3 3"],
    T: Float[Tensor, "... 3"],
    size: tuple[int, int],
    znear: float = 1.0,
    zfar: float = 100.0,
    max_y: Scalar = 1.0,
    min_y: Scalar = -1.0,
    max_x: Scalar = 1.0,
    min_x: Scalar = -1.0,
    scale_xyz: Float[Tensor, "... 3"] | Sequence[float] | Sequence[Sequence[float]] = (1.0, 1.0, 1.0),
) -> OrthographicCamera:
    """Camera of `FoVOrthographicCameras`; its scale of z moves no pixel and is left out.

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> R, T = torch.eye(3), torch.tensor([0.0, 0.0, 3.0])
    >>> box = {"min_x": -2.0, "max_x": 2.0, "min_y": -2.0, "max_y": 2.0}
    >>> camera = pytorch3d.from_pytorch3d_fov_orthographic(R, T, (256, 256), **box)
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 5.0]]))
    tensor([[128., 128.],
            [  0., 128.]])
    """
    matrix = _world_to_camera(R, T)
    scale = as_float(scale_xyz, "scale_xyz", matrix)
    left, right = as_float(min_x, "min_x", matrix), as_float(max_x, "max_x", matrix)
    low, high = as_float(min_y, "min_y", matrix), as_float(max_y, "max_y", matrix)
    fx, fy, px, py = box_intrinsics(left, right, low, high, scale)
    focal = torch.stack(torch.broadcast_tensors(fx, fy), dim=-1)
    principal = torch.stack(torch.broadcast_tensors(px, py), dim=-1)
    return OrthographicCamera(matrix, *_to_pixels(focal, principal, True, size, matrix), size, znear, zfar)


def from_pytorch3d_orthographic(
    R: Float[Tensor, "... 3 3"],
    T: Float[Tensor, "... 3"],
    size: tuple[int, int],
    focal_length: Pair = 1.0,
    principal_point: Pair = (0.0, 0.0),
    in_ndc: bool = True,
    near: float = 0.1,
    far: float = 100.0,
) -> OrthographicCamera:
    """Camera of `OrthographicCameras`; arguments as in `from_pytorch3d_perspective`.

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> R, T = torch.eye(3), torch.tensor([0.0, 0.0, 3.0])
    >>> camera = pytorch3d.from_pytorch3d_orthographic(R, T, (256, 256), focal_length=0.5)
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 5.0]]))
    tensor([[128., 128.],
            [  0., 128.]])
    """
    matrix = _world_to_camera(R, T)
    return OrthographicCamera(matrix, *_to_pixels(focal_length, principal_point, in_ndc, size, matrix), size, near, far)


def to_pytorch3d(camera: Camera, in_ndc: bool = False) -> dict[str, Any]:
    """Arguments of `PerspectiveCameras` or `OrthographicCameras` that make the same image.

    Returns:
        R [..., 3, 3], T [..., 3], focal_length and principal_point [..., 2], in_ndc, and image_size [..., 2].

    Raises:
        ValueError: a camera with distortion, which PyTorch3D's have not.

    >>> from lumigrad.scene import PerspectiveCamera, pytorch3d
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=90.0, size=(240, 320))
    >>> arguments = pytorch3d.to_pytorch3d(camera)
    >>> sorted(arguments)
    ['R', 'T', 'focal_length', 'image_size', 'in_ndc', 'principal_point']
    >>> arguments["T"][2].item(), [round(value, 3) for value in arguments["focal_length"].tolist()]
    (3.0, [120.0, 120.0])
    """
    if isinstance(camera, PerspectiveCamera) and camera.distortion is not None:
        raise ValueError("camera: expected one without distortion")
    R, T = _extrinsics(camera)
    focal, centre = torch.stack([camera.fx, camera.fy], dim=-1), torch.stack([camera.cx, camera.cy], dim=-1)
    if in_ndc:
        focal, centre = focal / (0.5 * min(camera.size)), screen_to_ndc(centre, _width_height(camera.size, centre))
    image_size = torch.tensor(camera.size, device=R.device).expand(*camera.shape, 2)
    return {
        "R": R, "T": T, "focal_length": focal, "principal_point": centre, "in_ndc": in_ndc, "image_size": image_size,
    }  # fmt: skip


def to_pytorch3d_fov(camera: PerspectiveCamera) -> dict[str, Any]:
    """Arguments of `FoVPerspectiveCameras`: R, T, fov in degrees, aspect_ratio, znear, zfar.

    Raises:
        ValueError: a camera with distortion, or whose principal point is not the centre of its image.

    >>> from lumigrad.scene import PerspectiveCamera, pytorch3d
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=90.0, size=(240, 320))
    >>> arguments = pytorch3d.to_pytorch3d_fov(camera)
    >>> round(arguments["fov"].item(), 3), arguments["znear"], arguments["zfar"]
    (90.0, 0.1, 100.0)
    """
    ndc = to_pytorch3d(camera, in_ndc=True)
    if not bool((ndc["principal_point"].abs() < 1e-6).all()):
        raise ValueError("camera: expected its principal point at the centre of the image")
    focal = ndc["focal_length"]
    fov = 2 * torch.atan(1 / focal[..., 1]) * (180 / math.pi)
    return {
        "R": ndc["R"], "T": ndc["T"], "fov": fov, "aspect_ratio": focal[..., 1] / focal[..., 0],
        "znear": camera.near, "zfar": camera.far,
    }  # fmt: skip


def _world_to_camera(R: Tensor, T: Tensor) -> Tensor:
    if R.shape[-2:] != (3, 3):
        raise ValueError(f"R: expected shape [..., 3, 3], got {list(R.shape)}")
    if T.ndim == 0 or T.shape[-1] != 3:
        raise ValueError(f"T: expected shape [..., 3], got {list(T.shape)}")
    flip = R.new_tensor(_FLIP)
    rotation, translation = flip[:, None] * R.transpose(-1, -2), (flip * T)[..., None]
    shape = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-2])
    return homogeneous(torch.cat([rotation.expand(*shape, 3, 3), translation.expand(*shape, 3, 1)], dim=-1))


def _extrinsics(camera: Camera) -> tuple[Tensor, Tensor]:
    flip = camera.world_to_camera.new_tensor(_FLIP)
    return (flip[:, None] * camera.world_to_camera[..., :3, :3]).transpose(-1, -2), flip * camera.world_to_camera[
        ..., :3, 3
    ]


def _width_height(size: tuple[int, int], like: Tensor) -> Tensor:
    return like.new_tensor([size[1], size[0]])


def _to_pixels(
    focal: Pair, principal: Pair, in_ndc: bool, size: tuple[int, int], like: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """fx, fy, cx, cy in pixels."""
    scale, centre = as_float(focal, "focal_length", like), as_float(principal, "principal_point", like)
    if scale.ndim == 0 or scale.shape[-1] != 2:
        scale = scale[..., None].expand(*scale.shape, 2)
    if centre.ndim == 0 or centre.shape[-1] != 2:
        raise ValueError(f"principal_point: expected shape [..., 2], got {list(centre.shape)}")
    size = check_size(size)
    if in_ndc:
        scale, centre = scale * (0.5 * min(size)), ndc_to_screen(centre, _width_height(size, centre))
    return scale[..., 0], scale[..., 1], centre[..., 0], centre[..., 1]


def fov_intrinsics(fov: Tensor, aspect_ratio: Tensor, degrees: bool = True) -> tuple[Tensor, Tensor]:
    """Focal lengths along x and y in NDC, of a field of view along the shorter side of the image.

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> [round(focal.item(), 4) for focal in pytorch3d.fov_intrinsics(torch.tensor(90.0), torch.tensor(2.0))]
    [0.5, 1.0]
    """
    focal = 1 / torch.tan((fov * (math.pi / 180) if degrees else fov) / 2)
    return focal / aspect_ratio, focal


def box_intrinsics(
    min_x: Tensor, max_x: Tensor, min_y: Tensor, max_y: Tensor, scale_xyz: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Focal lengths and principal point in NDC, fx, fy, px, py, that take a box of camera space to [-1, 1].

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> min_x, max_x, min_y, max_y = torch.tensor([0.0, 4.0, 0.0, 2.0])
    >>> [value.item() for value in pytorch3d.box_intrinsics(min_x, max_x, min_y, max_y, torch.ones(3))]
    [0.5, 1.0, -1.0, -1.0]
    """
    width, height = max_x - min_x, max_y - min_y
    focal = (2 / width * scale_xyz[..., 0], 2 / height * scale_xyz[..., 1])
    return *focal, -(max_x + min_x) / width, -(max_y + min_y) / height


def screen_to_ndc(xy: Float[Tensor, "... 2"], width_height: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
    """NDC [..., 2] of pixel coordinates [..., 2] in images of (width, height) [..., 2].

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> pytorch3d.screen_to_ndc(torch.tensor([[0.0, 0.0], [160.0, 120.0]]), torch.tensor([320.0, 240.0]))
    tensor([[1.3333, 1.0000],
            [0.0000, 0.0000]])
    """
    return (width_height / 2 - xy) / (width_height.amin(-1, keepdim=True) / 2)


def ndc_to_screen(xy: Float[Tensor, "... 2"], width_height: Float[Tensor, "... 2"]) -> Float[Tensor, "... 2"]:
    """Pixel coordinates [..., 2] of NDC [..., 2] in images of (width, height) [..., 2].

    >>> import torch
    >>> from lumigrad.scene import pytorch3d
    >>> pytorch3d.ndc_to_screen(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([320.0, 240.0]))
    tensor([[160., 120.],
            [ 40.,   0.]])
    """
    return width_height / 2 - xy * (width_height.amin(-1, keepdim=True) / 2)
