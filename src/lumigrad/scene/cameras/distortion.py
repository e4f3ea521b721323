"""Lens distortion: OpenCV's models, for points (distort) and rays (undistort).

Both work on the normalised image plane of a camera that looks along +z with x to the right and **y downwards**
(OpenCV's camera space): a point (X, Y, Z) lies at (X/Z, Y/Z), and pixels are (cx + fx x, cy + fy y) of the
distorted point (x, y).

Source: OpenCV, "Camera Calibration and 3D Reconstruction" and "Fisheye camera model" (documentation); Brown 1966,
"Decentering Distortion of Lenses"; Kannala and Brandt 2006, "A Generic Camera Model and Calibration Method for
Conventional, Wide-Angle, and Fish-Eye Lenses".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from torch import Tensor

from lumigrad.scene.cameras.pose import Scalar, as_float
from lumigrad.types.shapes import Float

D = TypeVar("D", bound="Distortion")

_ITERATIONS = 40
# Beyond this angle from the axis, the image plane extends to infinity.
_WIDEST = math.radians(89.9)


@dataclass(frozen=True)
class Distortion:
    """Common base of the models."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor) and not value.is_floating_point():
                raise TypeError(f"{field.name}: expected a floating tensor, got {value.dtype}")
            if not isinstance(value, (Tensor, float, int)):
                raise TypeError(f"{field.name}: expected a number or a tensor, got {type(value).__name__}")

    def distort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        """Where the lens images points [..., P, 2] of the ideal image plane.

        Raises:
            ValueError: points of another shape.
        """
        raise NotImplementedError

    def undistort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        """Inverse of `distort`, [..., P, 2].

        Points that the lens images nowhere give the nearest solution found, without gradients.
        """
        raise NotImplementedError

    def image(self, directions: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 2"]:
        """Distorted image [..., P, 2] of directions [..., P, 3] in OpenCV's camera space."""
        return self.distort(directions[..., :2] / directions[..., 2:])

    def directions(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 3"]:
        """Directions [..., P, 3] that the lens images at `points` [..., P, 2]; not of unit length."""
        ideal = self.undistort(points)
        return torch.cat([ideal, torch.ones_like(ideal[..., :1])], dim=-1)

    def max_radius(self, like: Tensor) -> Tensor:
        """Radius [...] on the ideal image plane up to which the distorted radius grows; tangential terms aside."""
        theta = torch.linspace(0, _WIDEST, 2048, dtype=torch.float64, device=like.device)
        ideal = torch.tan(theta)
        distorted = self._radial(ideal)
        grows = ((distorted[..., 1:] > distorted[..., :-1]) & distorted[..., 1:].isfinite()).cumprod(dim=-1)
        return ideal[grows.sum(dim=-1).clamp_min(1)].to(like.dtype)

    def _radial(self, radii: Tensor) -> Tensor:
        """Distorted radius of radii [R] for each camera, [..., R]; float64, without gradients."""
        raise NotImplementedError

    def homogeneous(self, points: Tensor) -> Tensor:
        """Distorted (x w, y w) of homogeneous (X, Y, w), [..., P, 3] to [..., P, 2], continuous everywhere.

        Up to `max_radius`, this is `w * distort(X / w, Y / w)`. Farther out, where polynomials turn around and would
        fold points outside the image back into it, and behind the camera, the distorted radius continues in proportion
        to the ideal one.
        """
        xy, w = points[..., :2], points[..., 2:]
        max_radius = self.max_radius(points)[..., None, None]
        radius = xy.norm(dim=-1, keepdim=True)
        inside = radius < max_radius * w
        near = w * self.distort(torch.where(inside, xy / torch.where(inside, w, 1.0), 0.0))
        far_radius = torch.where(inside | (radius == 0), 1.0, radius)
        edge = torch.where(inside, 0.0, xy / far_radius * max_radius)
        return torch.where(inside, near, self.distort(edge) * (far_radius / max_radius))

    def expanded(self: D, matrix: Tensor) -> D:
        """With every coefficient as a tensor of the dtype, device and batch shape of `matrix` [..., 4, 4]."""
        shape = matrix.shape[:-2]
        values = {}
        for field in fields(self):
            value = as_float(getattr(self, field.name), field.name, matrix).to(matrix)
            try:
                values[field.name] = value.expand(shape)
            except RuntimeError as error:
                got = list(value.shape)
                raise ValueError(f"{field.name}: expected a scalar or shape {list(shape)}, got {got}") from error
        return replace(self, **values)

    def __getitem__(self: D, index: object) -> D:
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def _values(self, like: Tensor) -> list[Tensor]:
        """Coefficients in the dtype of points [..., P, 2], with a dimension for the points."""
        values = [as_float(getattr(self, f.name), f.name, like).to(like) for f in fields(self)]
        return [value[..., None] if value.ndim else value for value in values]


@dataclass(frozen=True)
class RadialTangentialDistortion(Distortion):
    """OpenCV's rational model, and its simpler ones where the later coefficients are 0.

    With r^2 = x^2 + y^2 and g = (1 + k1 r^2 + k2 r^4 + k3 r^6) / (1 + k4 r^2 + k5 r^4 + k6 r^6)::

        x' = x g + 2 p1 x y + p2 (r^2 + 2 x^2)
        y' = y g + p1 (r^2 + 2 y^2) + 2 p2 x y

    The fields are in OpenCV's order.

    >>> import torch
    >>> from lumigrad.scene import RadialTangentialDistortion
    >>> lens = RadialTangentialDistortion(k1=-0.25)  # a barrel
    >>> bent = lens.distort(torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    >>> bent.tolist(), lens.undistort(bent).round(decimals=6).tolist()
    ([[0.75, 0.0]], [[1.0, 0.0]])
    """

    k1: Scalar = 0.0
    k2: Scalar = 0.0
    p1: Scalar = 0.0
    p2: Scalar = 0.0
    k3: Scalar = 0.0
    k4: Scalar = 0.0
    k5: Scalar = 0.0
    k6: Scalar = 0.0

    @classmethod
    def from_opencv(
        cls, coefficients: Float[Tensor, "... coefficients"] | Sequence[float]
    ) -> RadialTangentialDistortion:
        """From OpenCV's vector [..., 4, 5 or 8] (k1, k2, p1, p2, k3, k4, k5, k6).

        Raises:
            ValueError: another number of coefficients.
        """
        return cls(*_split(coefficients, (4, 5, 8)))

    def to_opencv(self) -> Float[Tensor, "... coefficients"]:
        """All eight coefficients in OpenCV's order, [..., 8]."""
        return _join(self)

    def distort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        return self._forward(_checked(points))[0]

    def undistort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        return _newton(_checked(points), self._forward, self.max_radius(points)[..., None, None])

    def _forward(self, points: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Distorted points, and the rows of their Jacobian (dx'/dx, dx'/dy, dy'/dx, dy'/dy)."""
        k1, k2, p1, p2, k3, k4, k5, k6 = self._values(points)
        x, y = points.unbind(-1)
        r2 = x * x + y * y
        top = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        g = top / bottom
        slope = (k1 + r2 * (2 * k2 + 3 * r2 * k3) - g * (k4 + r2 * (2 * k5 + 3 * r2 * k6))) / bottom
        bent = torch.stack(
            [x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], dim=-1
        )
        mixed = 2 * (x * y * slope + p1 * x + p2 * y)
        return bent, (
            g + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x,
            mixed,
            mixed,
            g + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x,
        )

    def _radial(self, radii: Tensor) -> Tensor:
        k1, k2, _, _, k3, k4, k5, k6 = (value.detach() for value in self._values(radii))
        r2 = radii * radii
        bottom = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        # A pole ends the range, as a turning point does.
        return torch.where(bottom > 0, radii * (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / bottom, -torch.inf)


@dataclass(frozen=True)
class FisheyeDistortion(Distortion):
    """OpenCV's fisheye model: equidistant, bent by a polynomial of the angle theta from the axis.

    A direction at the angle theta is imaged at the radius
    theta_d = theta (1 + k1 theta^2 + k2 theta^4 + k3 theta^6 + k4 theta^8). `image` and `directions` work for
    all angles, `distort` and `undistort` (on the ideal image plane) for those below 90 degrees.

    >>> import torch
    >>> from lumigrad.scene import FisheyeDistortion
    >>> lens = FisheyeDistortion()  # equidistant
    >>> round(lens.image(torch.tensor([[1.0, 0.0, 1.0]]))[0, 0].item(), 4)  # the angle of 45 degrees
    0.7854
    """

    k1: Scalar = 0.0
    k2: Scalar = 0.0
    k3: Scalar = 0.0
    k4: Scalar = 0.0

    @classmethod
    def from_opencv(cls, coefficients: Float[Tensor, "... coefficients"] | Sequence[float]) -> FisheyeDistortion:
        """From OpenCV's vector [..., 4] (k1, k2, k3, k4).

        Raises:
            ValueError: another number of coefficients.
        """
        return cls(*_split(coefficients, (4,)))

    def to_opencv(self) -> Float[Tensor, "... coefficients"]:
        """The coefficients [..., 4]."""
        return _join(self)

    def distort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        return self.image(torch.cat([_checked(points), torch.ones_like(points[..., :1])], dim=-1))

    def image(self, directions: Float[Tensor, "... points 3"]) -> Float[Tensor, "... points 2"]:
        xy, z = directions[..., :2], directions[..., 2]
        radius, central = _radius(xy)
        theta = torch.atan2(radius, z)
        # On the axis theta_d / radius tends to 1 / z.
        axial = torch.where(central, 1 / torch.where(central, z, 1.0), 0.0)
        return xy * torch.where(central, axial, self._bend(theta)[0] / radius)[..., None]

    def undistort(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 2"]:
        directions = self.directions(points)
        return directions[..., :2] / directions[..., 2:]

    def directions(self, points: Float[Tensor, "... points 2"]) -> Float[Tensor, "... points 3"]:
        """Directions of unit length."""
        radius, central = _radius(_checked(points))
        theta = self._angle(radius)
        scale = torch.where(central, 1.0, torch.sin(theta) / radius)
        z = torch.where(central, 1.0, torch.cos(theta))
        return torch.cat([points * scale[..., None], z[..., None]], dim=-1)

    def _bend(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """theta_d and its derivative by theta."""
        k1, k2, k3, k4 = self._values(theta)
        t2 = theta * theta
        bent = theta * (1 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
        return bent, 1 + t2 * (3 * k1 + t2 * (5 * k2 + t2 * (7 * k3 + t2 * 9 * k4)))

    def _angle(self, radius: Tensor) -> Tensor:
        """theta of theta_d, up to where theta_d stops growing; implicit derivatives like those of `_newton`."""
        with torch.no_grad():
            low, high = torch.zeros_like(radius), self._widest(radius).expand_as(radius)
            theta = torch.minimum(radius, 0.5 * high)
            for _ in range(_ITERATIONS):
                bent, slope = self._bend(theta)
                low, high = torch.where(bent < radius, theta, low), torch.where(bent < radius, high, theta)
                newton = theta - (bent - radius) / slope
                inside = (newton >= low) & (newton <= high)
                previous, theta = theta, torch.where(inside, newton, 0.5 * (low + high))
                if not bool(((theta - previous).abs() > 4 * torch.finfo(theta.dtype).eps).any()):
                    break
            bent, slope = self._bend(theta)
            solved = (bent - radius).abs() <= 1e3 * torch.finfo(theta.dtype).eps
            slope = torch.where(solved & (slope > 0), slope, torch.inf)
        return theta - (self._bend(theta)[0] - radius) / slope

    def _widest(self, like: Tensor) -> Tensor:
        """Angle [..., 1] up to which theta_d grows, at most pi."""
        grid = torch.linspace(0, math.pi, 2048, dtype=torch.float64, device=like.device)
        bent = self._bend(grid)[0]
        grows = (bent[..., 1:] > bent[..., :-1]).cumprod(dim=-1).sum(dim=-1, keepdim=True)
        return grid[grows].to(like.dtype)

    def _radial(self, radii: Tensor) -> Tensor:
        with torch.no_grad():
            return self._bend(torch.atan(radii))[0]


def _newton(
    target: Tensor,
    forward: Callable[[Tensor], tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]],
    max_radius: Tensor,
) -> Tensor:
    """Solve forward(x) = target for |x| < max_radius [..., 1, 1], with implicit derivatives.

    Damped Newton iterations find the solution without gradients. One more step from there, with solution and Jacobian
    held fixed, changes it by rounding only and carries exactly the derivatives of the implicit function theorem.
    """
    with torch.no_grad():
        unit = torch.finfo(target.dtype).eps * (1 + target.norm(dim=-1, keepdim=True))
        x = _shortened(target, max_radius)
        bent, jacobian = forward(x)
        error = (bent - target).norm(dim=-1, keepdim=True)
        step = torch.ones_like(error)
        for _ in range(_ITERATIONS):
            if not bool((error > 4 * unit).any()):
                break
            trial = _shortened(x - step * _solve(jacobian, bent - target), max_radius)
            trial_bent, trial_jacobian = forward(trial)
            trial_error = (trial_bent - target).norm(dim=-1, keepdim=True)
            better = trial_error < error
            x, bent, error = (
                torch.where(better, new, old) for new, old in ((trial, x), (trial_bent, bent), (trial_error, error))
            )
            jacobian = _pick(better[..., 0], trial_jacobian, jacobian)
            step = torch.where(better, (2 * step).clamp_max(1.0), 0.5 * step)
        solved = error <= 1e3 * unit
    bent, _ = forward(x)
    return x - torch.where(solved, _solve(jacobian, bent - target), 0.0)


def _shortened(points: Tensor, max_radius: Tensor) -> Tensor:
    """Points [..., P, 2], with those beyond the largest radius moved back to it."""
    radius = points.norm(dim=-1, keepdim=True)
    return torch.where(radius > max_radius, points * (max_radius / radius), points)


def _pick(mask: Tensor, new: tuple[Tensor, ...], old: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    a, b, c, d = (torch.where(mask, x, y) for x, y in zip(new, old, strict=True))
    return a, b, c, d


def _solve(jacobian: tuple[Tensor, Tensor, Tensor, Tensor], right: Tensor) -> Tensor:
    """The 2x2 systems; a singular matrix counts as the identity."""
    a, b, c, d = jacobian
    determinant = a * d - b * c
    regular = determinant.abs() > 1e-9
    safe = torch.where(regular, determinant, 1.0)
    x, y = right.unbind(-1)
    solution = torch.stack([(d * x - b * y) / safe, (a * y - c * x) / safe], dim=-1)
    return torch.where(regular[..., None], solution, right)


def _checked(points: Tensor) -> Tensor:
    if points.ndim < 2 or points.shape[-1] != 2:
        raise ValueError(f"points: expected shape [..., P, 2], got {list(points.shape)}")
    return points


def _radius(points: Tensor) -> tuple[Tensor, Tensor]:
    """Distances [...] of points [..., 2] from the centre (1 for those at the centre), and a mask of the latter."""
    squared = points.square().sum(dim=-1)
    central = squared < torch.finfo(points.dtype).eps ** 2
    return torch.where(central, 1.0, squared).sqrt(), central


def _split(coefficients: Tensor | Sequence[float], counts: tuple[int, ...]) -> tuple[Scalar, ...]:
    count = coefficients.shape[-1] if isinstance(coefficients, Tensor) else len(coefficients)
    if count not in counts:
        raise ValueError(f"coefficients: expected {' or '.join(map(str, counts))} of them, got {count}")
    return coefficients.unbind(-1) if isinstance(coefficients, Tensor) else tuple(coefficients)


def _join(distortion: Distortion) -> Tensor:
    values = [as_float(getattr(distortion, f.name), f.name) for f in fields(distortion)]
    return torch.stack(torch.broadcast_tensors(*values), dim=-1)
