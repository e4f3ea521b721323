"""From sensors and films to lumigrad's cameras, and from many small pixels to filtered ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.objects import Object, at
from lumigrad.scene import Camera, OrthographicCamera, PerspectiveCamera, ThinLens
from lumigrad.scene.cameras.pose import affine_inverse


def camera_of(sensor: Object, fine: int = 1) -> Camera:
    """The camera of a sensor's crop window; with `fine`, of as many pixels for each of the film's along a side.

    Mitsuba's cameras look along +z with x to the left, lumigrad's along -z with x to the right.
    """
    film, values = sensor.children["film"].options, sensor.values
    if sensor.kind == "orthographic":
        return _parallel(sensor, fine)
    matrix = values["to_world"] * values["to_world"].new_tensor([-1.0, 1.0, -1.0, 1.0])
    focal = film["width"] / 2 / torch.tan(values["x_fov"] * (math.pi / 360))
    cx = film["width"] * (0.5 - values["principal_point_offset_x"]) - film["crop_offset_x"]
    cy = film["height"] * (0.5 - values["principal_point_offset_y"]) - film["crop_offset_y"]
    size = film["crop_height"], film["crop_width"]
    near, far = (float(values[name]) for name in ("near_clip", "far_clip"))
    camera = PerspectiveCamera(affine_inverse(matrix), focal, focal, cx, cy, size, near, far)
    return camera.resized((fine * size[0], fine * size[1]))


def _parallel(sensor: Object, fine: int) -> Camera:
    """The film is two units wide, which `to_world` may scale."""
    film, values = sensor.children["film"].options, sensor.values
    matrix = values["to_world"] * values["to_world"].new_tensor([-1.0, 1.0, -1.0, 1.0])
    scales = torch.cat([torch.linalg.vector_norm(matrix[:3, :3], dim=0), matrix.new_ones(1)])
    fx, fy = film["width"] / 2 / scales[:2]
    cx, cy = (
        film[side] / 2 - film[offset] for side, offset in (("width", "crop_offset_x"), ("height", "crop_offset_y"))
    )
    size = film["crop_height"], film["crop_width"]
    near, far = (float(values[name] * scales[2]) for name in ("near_clip", "far_clip"))
    camera = OrthographicCamera(
        affine_inverse(matrix / scales), fx, fy, fx.new_tensor(cx), fx.new_tensor(cy), size, near, far
    )
    return camera.resized((fine * size[0], fine * size[1]))


def lens_of(sensor: Object) -> ThinLens | None:
    """The lens of a sensor that has one."""
    if sensor.kind != "thinlens":
        return None
    try:
        return ThinLens(*(sensor.values[name].reshape(()) for name in ("aperture_radius", "focus_distance")))
    except ValueError as error:
        raise ValueError(f"{at(sensor.path)}{error}") from error


def fineness(sensor: Object, spp: int) -> int:
    """Small pixels along a side of a pixel, for its filter: as many as samples allow, from 2 to 4.

    1 where the filter is the pixel's own square.
    """
    rfilter = sensor.children["film"].children["rfilter"]
    if rfilter.kind == "box" and rfilter.options["radius"] == 0.5:
        return 1
    return min(max(math.isqrt(spp), 2), 4)


def filtered(image: Tensor, sensor: Object, fine: int) -> Tensor:
    """Small pixels [fine H, fine W, C] weighted by the film's filter [H, W, C]. At the border, by the part inside."""
    if fine == 1:
        return image
    film = sensor.children["film"]
    rows, columns = (_weights(film.children["rfilter"], film.options[f"crop_{side}"], fine).to(image)
                     for side in ("height", "width"))  # fmt: skip
    wide = (rows @ image.flatten(1)).reshape(len(rows), *image.shape[1:])
    return torch.einsum("wj,hjc->hwc", columns, wide)


def _weights(rfilter: Object, count: int, fine: int) -> Tensor:
    """Of the small pixels for each pixel [count, fine count]; rows add up to 1."""
    centres = torch.arange(count, dtype=torch.float64) + 0.5
    small = (torch.arange(fine * count, dtype=torch.float64) + 0.5) / fine
    distance = (small - centres[:, None]).abs()
    if rfilter.kind == "box":  # the part of a small pixel that it covers
        weights = ((rfilter.options["radius"] - distance) * fine + 0.5).clamp(0, 1)
    else:
        weights = _profile(rfilter, distance)
    return weights / weights.sum(1, keepdim=True)


def _profile(rfilter: Object, x: Tensor) -> Tensor:
    """The filter at distances from a pixel's centre."""
    options = rfilter.options
    if rfilter.kind == "tent":
        return (1 - x / options["radius"]).clamp_min(0)
    if rfilter.kind == "gaussian":
        deviation = options["stddev"]
        tail = math.exp(-8.0)  # cut at four deviations
        return (torch.exp(-0.5 * (x / deviation).square()) - tail).clamp_min(0)
    if rfilter.kind == "lanczos":
        return torch.where(x < options["lobes"], torch.sinc(x) * torch.sinc(x / options["lobes"]), 0)
    b, c = (options["A"], options["B"]) if rfilter.kind == "mitchell" else (0.0, 0.5)
    return _cubic(x, b, c)


def _cubic(x: Tensor, b: float, c: float) -> Tensor:
    """Mitchell and Netravali 1988."""
    near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + (6 - 2 * b)
    far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x + (8 * b + 24 * c)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0)) / 6
