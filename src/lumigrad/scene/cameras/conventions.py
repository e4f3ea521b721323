"""Cameras from and to other programs' conventions: OpenCV, COLMAP, OpenGL, Blender and NeRF.

PyTorch3D's are in :mod:`lumigrad.scene.cameras.pytorch3d`. All functions take batches and are differentiable.

=============  ==========================================  ==========================================
               camera space                                centre of the top left pixel
=============  ==========================================  ==========================================
lumigrad       x right, y up, looks along -z               (0.5, 0.5)
OpenGL, NeRF   the same                                    (0.5, 0.5)
OpenCV         x right, y down, looks along +z             (0, 0), see `integer_centers`
COLMAP         the same                                    (0.5, 0.5)
=============  ==========================================  ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.scene.cameras.distortion import Distortion, FisheyeDistortion, RadialTangentialDistortion
from lumigrad.scene.cameras.pose import Scalar, affine_inverse, homogeneous
from lumigrad.scene.rotations import matrix_to_quaternion, quaternion_to_matrix
from lumigrad.types.shapes import Float

# From OpenCV's camera space to OpenGL's, and back.
_FLIP = (1.0, -1.0, -1.0)

# COLMAP's parameters in order: focal lengths, principal point, and which coefficients the rest are.
_RADIAL, _OPENCV = ("k1", "k2"), ("k1", "k2", "p1", "p2")
COLMAP_MODELS: dict[str, tuple[int, type[Distortion] | None, tuple[str, ...]]] = {
    "SIMPLE_PINHOLE": (1, None, ()),
    "PINHOLE": (2, None, ()),
    "SIMPLE_RADIAL": (1, RadialTangentialDistortion, _RADIAL[:1]),
    "RADIAL": (1, RadialTangentialDistortion, _RADIAL),
    "OPENCV": (2, RadialTangentialDistortion, _OPENCV),
    "FULL_OPENCV": (2, RadialTangentialDistortion, (*_OPENCV, "k3", "k4", "k5", "k6")),
    "SIMPLE_RADIAL_FISHEYE": (1, FisheyeDistortion, _RADIAL[:1]),
    "RADIAL_FISHEYE": (1, FisheyeDistortion, _RADIAL),
    "OPENCV_FISHEYE": (2, FisheyeDistortion, ("k1", "k2", "k3", "k4")),
}

# Values of `camera_model` in files of instant-ngp and nerfstudio, and whether each is a fisheye lens.
TRANSFORMS_MODELS = {
    "OPENCV": False, "FULL_OPENCV": False, "PERSPECTIVE": False, "PINHOLE": False, "SIMPLE_PINHOLE": False,
    "RADIAL": False, "SIMPLE_RADIAL": False, "OPENCV_FISHEYE": True, "FISHEYE": True, "RADIAL_FISHEYE": True,
    "SIMPLE_RADIAL_FISHEYE": True,
}  # fmt: skip
# Names of the focal length along each axis: in pixels, as an angle in radians and in degrees.
_FOCALS = (("fl_x", "camera_angle_x", "x_fov"), ("fl_y", "camera_angle_y", "y_fov"))
# Keys by which instant-ngp describes cameras other than by a model and its coefficients.
_UNKNOWN = ("ftheta_p0", "latlong", "equirectangular")


def from_opencv(
    R: Float[Tensor, "... 3 3"],
    t: Float[Tensor, "... 3"] | Float[Tensor, "... 3 1"],
    intrinsics: Float[Tensor, "... 3 3"],
    size: tuple[int, int],
    distortion: Distortion | None = None,
    near: float = 0.1,
    far: float = 100.0,
    integer_centers: bool = False,
) -> PerspectiveCamera:
    """Camera of OpenCV's extrinsics and intrinsics: a world point X lies at R X + t.

    Args:
        R: [..., 3, 3].
        t: [..., 3] or [..., 3, 1].
        intrinsics: the camera matrix K, [..., 3, 3], without skew.
        size: (height, width) in pixels.
        distortion: for example `RadialTangentialDistortion.from_opencv(coefficients)`.
        integer_centers: whether it counts pixels from the centre of the top left one, as OpenCV's own functions do.
            Most data sets, and COLMAP, count from that pixel's corner.

    Raises:
        ValueError: shapes that do not fit, or intrinsics with skew.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> intrinsics = torch.tensor([[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]])
    >>> camera = conventions.from_opencv(torch.eye(3), torch.zeros(3), intrinsics, size=(480, 640))
    >>> camera.pixels(torch.tensor([[0.0, 0.0, 2.0], [0.5, 0.25, 2.0]]))  # x is to the right and y down, z ahead
    tensor([[320.0000, 240.0000],
            [445.0000, 302.5000]])
    """
    if R.shape[-2:] != (3, 3):
        raise ValueError(f"R: expected shape [..., 3, 3], got {list(R.shape)}")
    translation = t[..., 0] if t.ndim >= 2 and t.shape[-2:] == (3, 1) else t
    if translation.ndim == 0 or translation.shape[-1] != 3:
        raise ValueError(f"t: expected shape [..., 3] or [..., 3, 1], got {list(t.shape)}")
    if intrinsics.shape[-2:] != (3, 3):
        raise ValueError(f"intrinsics: expected shape [..., 3, 3], got {list(intrinsics.shape)}")
    if bool((intrinsics[..., 0, 1] != 0).any()):
        raise ValueError("intrinsics: expected no skew, got a K[0, 1] other than 0")
    shift = 0.5 if integer_centers else 0.0
    fx, fy = intrinsics[..., 0, 0], intrinsics[..., 1, 1]
    cx, cy = intrinsics[..., 0, 2] + shift, intrinsics[..., 1, 2] + shift
    return PerspectiveCamera(_world_to_camera(R, translation), fx, fy, cx, cy, size, near, far, distortion)


def to_opencv(
    camera: PerspectiveCamera, integer_centers: bool = False
) -> tuple[Float[Tensor, "*batch 3 3"], Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3 3"]]:
    """R [..., 3, 3], t [..., 3] and intrinsics [..., 3, 3] of a camera; the inverse of `from_opencv`.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=90.0, size=(480, 640))
    >>> R, t, intrinsics = conventions.to_opencv(camera)
    >>> t[2].item()  # how far ahead the world's origin lies
    3.0
    >>> intrinsics.round(decimals=3)
    tensor([[240.,   0., 320.],
            [  0., 240., 240.],
            [  0.,   0.,   1.]])
    """
    shift = 0.5 if integer_centers else 0.0
    zero, one = torch.zeros_like(camera.fx), torch.ones_like(camera.fx)
    rows = [[camera.fx, zero, camera.cx - shift], [zero, camera.fy, camera.cy - shift], [zero, zero, one]]
    intrinsics = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    flip = camera.world_to_camera.new_tensor(_FLIP)
    return flip[:, None] * camera.world_to_camera[..., :3, :3], flip * camera.world_to_camera[..., :3, 3], intrinsics


def from_colmap(
    qvec: Float[Tensor, "... 4"],
    tvec: Float[Tensor, "... 3"],
    model: str,
    params: Float[Tensor, "... count"] | Sequence[Scalar],
    size: tuple[int, int],
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of COLMAP's image (world to camera) and camera model.

    Args:
        qvec: rotation (w, x, y, z), [..., 4].
        tvec: translation, [..., 3].
        model: one of `COLMAP_MODELS`.
        params: the model's parameters in COLMAP's order, [..., count].
        size: (height, width) in pixels.

    Raises:
        ValueError: an unknown model, or another number of parameters than it has.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> qvec, tvec = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 3.0])
    >>> camera = conventions.from_colmap(qvec, tvec, "SIMPLE_RADIAL", [500.0, 320.0, 240.0, 0.1], size=(480, 640))
    >>> camera.position.tolist(), round(camera.distortion.k1.item(), 6)
    ([0.0, 0.0, -3.0], 0.1)
    """
    if model not in COLMAP_MODELS:
        raise ValueError(f"model: expected one of {', '.join(COLMAP_MODELS)}, got {model!r}")
    focals, kind, names = COLMAP_MODELS[model]
    values = list(params.unbind(-1)) if isinstance(params, Tensor) else list(params)
    if len(values) != focals + 2 + len(names):
        raise ValueError(f"params: expected {focals + 2 + len(names)} for {model}, got {len(values)}")
    distortion = None if kind is None else kind(**dict(zip(names, values[focals + 2 :], strict=True)))
    cx, cy = values[focals : focals + 2]
    matrix = _world_to_camera(quaternion_to_matrix(qvec), tvec)
    return PerspectiveCamera(matrix, values[0], values[focals - 1], cx, cy, size, near, far, distortion)  # type: ignore[arg-type]


def to_colmap(
    camera: PerspectiveCamera,
) -> tuple[Float[Tensor, "*batch 4"], Float[Tensor, "*batch 3"], str, Float[Tensor, "*batch count"]]:
    """qvec [..., 4], tvec [..., 3], model and params [..., count] of a camera.

    The model is PINHOLE, FULL_OPENCV or OPENCV_FISHEYE.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=90.0, size=(480, 640))
    >>> qvec, tvec, model, params = conventions.to_colmap(camera)
    >>> qvec.tolist(), tvec[2].item()  # half a turn about x: y points down and z ahead
    ([0.0, 1.0, 0.0, 0.0], 3.0)
    >>> model, [round(value, 2) for value in params.tolist()]
    ('PINHOLE', [240.0, 240.0, 320.0, 240.0])
    """
    R, t, _ = to_opencv(camera)
    params = torch.stack([camera.fx, camera.fy, camera.cx, camera.cy], dim=-1)
    if camera.distortion is None:
        return matrix_to_quaternion(R), t, "PINHOLE", params
    model = "OPENCV_FISHEYE" if isinstance(camera.distortion, FisheyeDistortion) else "FULL_OPENCV"
    coefficients = torch.stack([getattr(camera.distortion, name) for name in COLMAP_MODELS[model][2]], dim=-1)
    return matrix_to_quaternion(R), t, model, torch.cat([params, coefficients], dim=-1)


def from_opengl(
    camera_to_world: Float[Tensor, "... 4 4"] | Float[Tensor, "... 3 4"],
    fx: Scalar,
    fy: Scalar,
    cx: Scalar,
    cy: Scalar,
    size: tuple[int, int],
    distortion: Distortion | None = None,
    near: float = 0.1,
    far: float = 100.0,
) -> PerspectiveCamera:
    """Camera of the pose that OpenGL, Blender (`matrix_world`) and NeRF data sets hold.

    Args:
        camera_to_world: rigid, [..., 4, 4] or [..., 3, 4]; its columns are the camera's right, up and back in the
            world, and its position.
        fx, fy, cx, cy: in pixels, scalars or [...].
        size: (height, width) in pixels.

    Raises:
        ValueError: a matrix of another shape or with scale or shear, or other shapes that do not fit.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> pose = torch.eye(4)
    >>> pose[:3, 3] = torch.tensor([0.0, 1.0, 5.0])
    >>> camera = conventions.from_opengl(pose, fx=500.0, fy=500.0, cx=320.0, cy=240.0, size=(480, 640))
    >>> camera.position.tolist()
    [0.0, 1.0, 5.0]
    """
    if camera_to_world.shape[-2:] not in ((4, 4), (3, 4)):
        raise ValueError(f"camera_to_world: expected shape [..., 4, 4], got {list(camera_to_world.shape)}")
    rotation = camera_to_world[..., :3, :3].detach().double()
    identity = torch.eye(3, dtype=torch.float64, device=rotation.device)
    if not bool(((rotation @ rotation.transpose(-1, -2) - identity).abs() < 1e-3).all()):
        raise ValueError("camera_to_world: expected a rotation and a translation, got scale or shear")
    matrix = affine_inverse(camera_to_world)
    return PerspectiveCamera(matrix, fx, fy, cx, cy, size, near, far, distortion)  # type: ignore[arg-type]


def to_opengl(camera: PerspectiveCamera) -> Float[Tensor, "... 4 4"]:
    """Camera-to-world matrix [..., 4, 4]; the intrinsics are the camera's own.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> camera = PerspectiveCamera.orbit(azimuth=0.0, elevation=0.0, distance=3.0, fov_y=90.0, size=(480, 640))
    >>> conventions.to_opengl(camera)
    tensor([[1., 0., 0., 0.],
            [0., 1., 0., 0.],
            [0., 0., 1., 3.],
            [0., 0., 0., 1.]])
    """
    return camera.camera_to_world


def from_transforms(document: Mapping[str, Any], near: float = 0.1, far: float = 100.0) -> PerspectiveCamera:
    """Cameras [frames] of a `transforms.json`, as NeRF data sets have them.

    Args:
        document: the parsed file: `frames` with `transform_matrix` (camera to world, OpenGL axes), and, for all or
            frame by frame, `w`, `h`; the focal lengths `fl_x, fl_y` in pixels, `camera_angle_x, camera_angle_y` in
            radians or `x_fov, y_fov` in degrees; `cx, cy` in pixels; OpenCV's k1, k2, k3, k4, p1, p2, or
            nerfstudio's `distortion_params`, the same in this order. `camera_model` is one of `TRANSFORMS_MODELS`;
            with OPENCV_FISHEYE k1 to k4 are those of the fisheye model.

    Returns:
        Float64 cameras in the file's order. Where one focal length is given, pixels are square.

    Raises:
        ValueError: entries that are missing or no numbers, images of different sizes, a camera model that is not known,
            or several ones.

    >>> import math
    >>> from lumigrad.scene import conventions
    >>> pose = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]
    >>> document = {"w": 800, "h": 600, "camera_angle_x": math.pi / 2, "frames": [{"transform_matrix": pose}]}
    >>> cameras = conventions.from_transforms(document)
    >>> cameras.shape, cameras.position.tolist(), round(cameras.fx.item(), 6)
    (torch.Size([1]), [[0.0, 0.0, 4.0]], 400.0)
    """
    frames = [_merged(document, frame) for frame in document.get("frames", [])]
    if not frames:
        raise ValueError("frames: expected at least one, got none")
    sizes = {(frame.get("h"), frame.get("w")) for frame in frames}
    if len(sizes) != 1 or None in next(iter(sizes)):
        raise ValueError(f"w, h: expected one size for all frames, got {sorted(map(str, sizes))}")
    height, width = int(frames[0]["h"]), int(frames[0]["w"])
    parsed = [_intrinsics(frame, height, width) for frame in frames]
    columns = torch.tensor([list(row.values()) for row in parsed], dtype=torch.float64)
    poses = torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float64)
    models = {_is_fisheye(frame) for frame in frames}
    if len(models) != 1:
        raise ValueError("camera_model: expected one for all frames, got perspective and fisheye ones")
    fisheye = models.pop()
    names = ("k1", "k2", "k3", "k4") if fisheye else (*_OPENCV, "k3", "k4", "k5", "k6")
    values = torch.tensor([_coefficients(frame, names, fisheye) for frame in frames], dtype=torch.float64)
    distortion: Distortion | None = None
    if fisheye or bool((values != 0).any()):
        kind = FisheyeDistortion if fisheye else RadialTangentialDistortion
        distortion = kind(**dict(zip(names, values.unbind(-1), strict=True)))
    fx, fy, cx, cy = columns.unbind(-1)
    return from_opengl(poses, fx, fy, cx, cy, (height, width), distortion, near, far)


def to_transforms(camera: PerspectiveCamera, file_paths: Sequence[str]) -> dict[str, Any]:
    """The document of a `transforms.json` for cameras [frames]; intrinsics stand with each frame.

    Raises:
        ValueError: cameras that are no batch of one dimension, or another number of file paths.

    >>> import torch
    >>> from lumigrad.scene import PerspectiveCamera, conventions
    >>> cameras = PerspectiveCamera.orbit(torch.tensor([0.0, 90.0]), 0.0, 3.0, fov_y=90.0, size=(480, 640))
    >>> document = conventions.to_transforms(cameras, ["left.png", "right.png"])
    >>> document["w"], document["h"], [frame["file_path"] for frame in document["frames"]]
    (640, 480, ['left.png', 'right.png'])
    """
    if len(camera.shape) != 1 or camera.shape[0] != len(file_paths):
        raise ValueError(f"file_paths: expected one for each camera {list(camera.shape)}, got {len(file_paths)}")
    poses = to_opengl(camera).tolist()
    columns = {"fl_x": camera.fx, "fl_y": camera.fy, "cx": camera.cx, "cy": camera.cy}
    document: dict[str, Any] = {"w": camera.size[1], "h": camera.size[0]}
    if camera.distortion is not None:
        document["camera_model"] = to_colmap(camera)[2].replace("FULL_OPENCV", "OPENCV")
        columns |= {name: getattr(camera.distortion, name) for name in vars(camera.distortion)}
    lists = {name: value.tolist() for name, value in columns.items()}
    document["frames"] = [
        {"file_path": path, "transform_matrix": poses[i], **{name: values[i] for name, values in lists.items()}}
        for i, path in enumerate(file_paths)
    ]
    return document


def _world_to_camera(rotation: Tensor, translation: Tensor) -> Tensor:
    """`world_to_camera` of OpenCV's rotation [..., 3, 3] and translation [..., 3]."""
    flip = rotation.new_tensor(_FLIP)
    rotation, translation = flip[:, None] * rotation, (flip * translation)[..., None]
    shape = torch.broadcast_shapes(rotation.shape[:-2], translation.shape[:-2])
    return homogeneous(torch.cat([rotation.expand(*shape, 3, 3), translation.expand(*shape, 3, 1)], dim=-1))


def _merged(document: Mapping[str, Any], frame: Mapping[str, Any]) -> dict[str, Any]:
    """A frame merged with the document's values for all frames; its own focal length replaces theirs, in any form."""
    common = {name: value for name, value in document.items() if name != "frames"}
    for names in _FOCALS:
        if any(name in frame for name in names):
            common = {name: value for name, value in common.items() if name not in names}
    return {**common, **frame}


def _intrinsics(frame: Mapping[str, Any], height: int, width: int) -> dict[str, float]:
    """Focal lengths and principal point in pixels of one frame."""
    if "transform_matrix" not in frame:
        raise ValueError("frames: expected a transform_matrix in each")
    fx, fy = (_focal(frame, names, size) for names, size in zip(_FOCALS, (width, height)))
    if fx is None and fy is None:
        raise ValueError("frames: expected fl_x or camera_angle_x, got neither")
    cx, cy = _number(frame, "cx", 0.5 * width), _number(frame, "cy", 0.5 * height)
    return {"fl_x": fy if fx is None else fx, "fl_y": fx if fy is None else fy, "cx": cx, "cy": cy}  # type: ignore[dict-item]


def _focal(frame: Mapping[str, Any], names: Sequence[str], size: int) -> float | None:
    """The focal length in pixels along an axis of `size` pixels, from the first of its names that the frame has."""
    name = next((name for name in names if name in frame), None)
    if name is None:
        return None
    value = _number(frame, name)
    if name == names[0]:
        if not value > 0:
            raise ValueError(f"{name}: expected a focal length above zero, got {value:g}")
        return value
    angle = value if name == names[1] else math.radians(value)
    if not 0 < angle < math.pi:
        raise ValueError(f"{name}: expected an angle between 0 and 180 degrees, got {value:g}")
    return 0.5 * size / math.tan(0.5 * angle)


def _is_fisheye(frame: Mapping[str, Any]) -> bool:
    """Whether a frame's camera model is a fisheye lens; an unknown model is an error."""
    other = next((name for name in _UNKNOWN if frame.get(name)), None)
    if other is not None:
        raise ValueError(f"{other}: expected a camera model of {', '.join(TRANSFORMS_MODELS)}")
    model = frame.get("camera_model", "OPENCV")
    if not isinstance(model, str) or model.upper() not in TRANSFORMS_MODELS:
        raise ValueError(f"camera_model: expected one of {', '.join(TRANSFORMS_MODELS)}, got {model!r}")
    return TRANSFORMS_MODELS[model.upper()] or bool(frame.get("is_fisheye", False))


def _coefficients(frame: Mapping[str, Any], names: Sequence[str], fisheye: bool) -> list[float]:
    """The distortion coefficients of a frame, in the order of `names`."""
    given = frame.get("distortion_params")
    if given is None:
        return [_number(frame, name) for name in names]
    if not isinstance(given, (list, tuple)) or len(given) > 6:
        raise ValueError(f"distortion_params: expected up to six numbers k1, k2, k3, k4, p1, p2, got {given!r}")
    listed = dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), given))
    values = {name: _number({"distortion_params": value}, "distortion_params") for name, value in listed.items()}
    # nerfstudio's k4 multiplies the eighth power of the radius; OpenCV's is the first coefficient of a denominator.
    refused = ("p1", "p2") if fisheye else ("k4",)
    for name in refused:
        if values.get(name, 0.0) != 0:
            model = "fisheye" if fisheye else "perspective"
            raise ValueError(f"distortion_params: expected {name} = 0 for a {model} camera, got {values[name]:g}")
    return [values.get(name, 0.0) for name in names]


def _number(frame: Mapping[str, Any], name: str, default: float = 0.0) -> float:
    """An entry of a frame, finite."""
    value = frame.get(name, default)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {value!r}")
    return number
