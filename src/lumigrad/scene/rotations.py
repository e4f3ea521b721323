"""Rotations: matrices, quaternions, axis times angle, and six numbers; all differentiable everywhere.

Matrices act on column vectors. Quaternions are (w, x, y, z).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.types.shapes import Float


def quaternion_to_matrix(quaternion: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix [..., 3, 3] of a quaternion [..., 4] = (w, x, y, z) of any length but 0.

    Raises:
        ValueError: a last dimension other than 4.

    >>> import torch
    >>> from lumigrad.scene import quaternion_to_matrix
    >>> quaternion_to_matrix(torch.tensor([0.0, 0.0, 0.0, 2.0]))  # half a turn about z
    tensor([[-1.,  0.,  0.],
            [ 0., -1.,  0.],
            [ 0.,  0.,  1.]])
    """
    _check_last("quaternion", quaternion, 4)
    w, x, y, z = (quaternion / quaternion.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_quaternion(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion [..., 4] = (w, x, y, z) of a rotation matrix [..., 3, 3], its first nonzero part positive.

    All four products of one component with the others are read off the matrix, and the largest component's are
    used, so that nothing is divided by a small number.

    Source: Shepperd 1978, "Quaternion from rotation matrix".

    Raises:
        ValueError: a shape other than [..., 3, 3].

    >>> import torch
    >>> from lumigrad.scene import matrix_to_quaternion
    >>> matrix_to_quaternion(torch.diag(torch.tensor([-1.0, -1.0, 1.0])))  # half a turn about z
    tensor([0., 0., 0., 1.])
    """
    _check_matrix("rotation", rotation)
    m = [[rotation[..., i, j] for j in range(3)] for i in range(3)]
    a, b, c = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    d, e, f = m[1][0] + m[0][1], m[0][2] + m[2][0], m[2][1] + m[1][2]
    x, y, z = m[0][0], m[1][1], m[2][2]
    # Row i is 4 q_i q.
    rows = [[1 + x + y + z, a, b, c], [a, 1 + x - y - z, d, e], [b, d, 1 - x + y - z, f], [c, e, f, 1 - x - y + z]]
    products = torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)
    largest = products.detach().diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = products.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4))[..., 0, :]
    quaternion: Tensor = row / row.norm(dim=-1, keepdim=True)
    first = (quaternion.detach() != 0).int().argmax(dim=-1, keepdim=True)
    return quaternion * torch.sign(quaternion.detach().gather(-1, first))


def axis_angle_to_matrix(axis_angle: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix [..., 3, 3] about an axis [..., 3] by its length in radians: the exponential map.

    Rodrigues' formula, with series near 0: smooth everywhere, with the exact derivative at 0 too.

    Raises:
        ValueError: a last dimension other than 3.

    >>> import math, torch
    >>> from lumigrad.scene import axis_angle_to_matrix
    >>> axis_angle_to_matrix(torch.tensor([0.0, 0.0, math.pi / 2])).round(decimals=4) + 0.0  # a quarter turn about z
    tensor([[ 0., -1.,  0.],
            [ 1.,  0.,  0.],
            [ 0.,  0.,  1.]])
    """
    _check_last("axis_angle", axis_angle, 3)
    square = axis_angle.square().sum(-1)[..., None, None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    small = square < 1e-4  # where quotients lose digits, and at 0 have no gradient, their series are used
    angle = torch.where(small, 1, square).sqrt()
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42))
    sine = torch.where(small, series, angle.sin() / angle)
    series = 0.5 - square / 24 * (1 - square / 30 * (1 - square / 56))
    cosine = torch.where(small, series, 2 * ((angle / 2).sin() / angle).square())
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    rotation: Tensor = identity + sine * cross + cosine * (cross @ cross)
    return rotation


def matrix_to_axis_angle(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis times angle in radians [..., 3] of a rotation matrix [..., 3, 3]: the logarithm, of length 0 to pi.

    It goes by the quaternion, so that no digits are lost near 0 and near pi. At pi, where both directions of the axis
    give the same rotation, the one whose first nonzero component is positive is chosen; its derivative is that of the
    logarithm which continues it.

    Raises:
        ValueError: a shape other than [..., 3, 3].

    >>> import torch
    >>> from lumigrad.scene import matrix_to_axis_angle
    >>> matrix_to_axis_angle(torch.diag(torch.tensor([-1.0, 1.0, -1.0])))  # half a turn about y
    tensor([0.0000, 3.1416, 0.0000])
    """
    w, vector = matrix_to_quaternion(rotation).split((1, 3), dim=-1)
    square = vector.square().sum(-1, keepdim=True)
    small = square < 1e-4
    sine = torch.where(small, 1, square).sqrt()
    ratio = square / torch.where(small, w, 1).square()
    series = 2 / torch.where(small, w, 1) * (1 - ratio / 3 + ratio.square() / 5 - ratio.square() * ratio / 7)
    axis_angle: Tensor = vector * torch.where(small, series, 2 * torch.atan2(sine, w) / sine)
    return axis_angle


def rotation_6d_to_matrix(rows: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix [..., 3, 3] of six numbers [..., 6]: its first two rows, made orthonormal one after the other.

    Continuous, unlike three or four numbers, which helps networks that predict rotations. The two rows may have any
    length but 0, and any angle but 0 and 180 degrees between them.

    Source: Zhou et al. 2019, "On the Continuity of Rotation Representations in Neural Networks" (which has columns;
    rows are PyTorch3D's convention).

    Raises:
        ValueError: a last dimension other than 6.

    >>> import torch
    >>> from lumigrad.scene import rotation_6d_to_matrix
    >>> rotation_6d_to_matrix(torch.tensor([0.0, 2.0, 0.0, -3.0, 5.0, 0.0])) + 0.0  # a quarter turn about -z
    tensor([[ 0.,  1.,  0.],
            [-1.,  0.,  0.],
            [ 0.,  0.,  1.]])
    """
    _check_last("rows", rows, 6)
    first = torch.nn.functional.normalize(rows[..., :3], dim=-1)
    second = rows[..., 3:]
    second = torch.nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)


def matrix_to_rotation_6d(rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two rows [..., 6] of a rotation matrix [..., 3, 3]; see `rotation_6d_to_matrix`.

    Raises:
        ValueError: a shape other than [..., 3, 3].

    >>> import torch
    >>> from lumigrad.scene import matrix_to_rotation_6d
    >>> matrix_to_rotation_6d(torch.eye(3))
    tensor([1., 0., 0., 0., 1., 0.])
    """
    _check_matrix("rotation", rotation)
    return rotation[..., :2, :].flatten(-2)


def rotation_angle(
    first: Float[Tensor, "*#batch 3 3"], second: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*angles"]:
    """Angle in radians [...], 0 to pi, between rotation matrices [..., 3, 3] that broadcast against each other.

    By sine and cosine, so that small angles keep their digits; not differentiable at 0 and pi, where its gradient is 0.

    Raises:
        ValueError: a shape other than [..., 3, 3].

    >>> import math, torch
    >>> from lumigrad.scene import axis_angle_to_matrix, rotation_angle
    >>> turned = axis_angle_to_matrix(torch.tensor([0.0, math.radians(30.0), 0.0]))
    >>> round(math.degrees(rotation_angle(torch.eye(3), turned)), 3)
    30.0
    """
    _check_matrix("first", first)
    _check_matrix("second", second)
    relative = first.transpose(-1, -2) @ second
    # |first - second| = sqrt(8) sin(angle / 2), and the trace of their quotient is 4 cos(angle / 2)^2 - 1.
    sine = (first - second).flatten(-2).norm(dim=-1) / 8**0.5
    square = 0.25 * (1 + relative.diagonal(dim1=-2, dim2=-1).sum(-1))
    cosine = torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0)
    return 2 * torch.atan2(sine, cosine)


def _check_last(name: str, value: Tensor, size: int) -> None:
    if value.ndim == 0 or value.shape[-1] != size:
        raise ValueError(f"{name}: expected shape [..., {size}], got {list(value.shape)}")


def _check_matrix(name: str, value: Tensor) -> None:
    if value.shape[-2:] != (3, 3):
        raise ValueError(f"{name}: expected shape [..., 3, 3], got {list(value.shape)}")
