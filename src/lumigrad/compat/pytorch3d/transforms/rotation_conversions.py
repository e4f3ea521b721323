# ruff: noqa: RUF005  (torch.jit.script knows no unpacking in tuples)
"""Rotations as matrices, quaternions (real part first), axis times angle, Euler angles and six numbers.

Matrices act on column vectors. `torch.jit.script` compiles all functions, so annotations are not deferred.
"""

import torch
import torch.nn.functional as F

from lumigrad.compat.pytorch3d.transforms.math import hat_of, versine_terms


def quaternion_to_matrix(quaternions: torch.Tensor) -> torch.Tensor:
    """Matrices [..., 3, 3] of quaternions [..., 4] of any length but zero."""
    w, x, y, z = torch.unbind(quaternions, -1)
    s = 2.0 / (quaternions * quaternions).sum(-1)
    rows = torch.stack(
        (
            1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w),
            s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w),
            s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y),
        ),
        -1,
    )  # fmt: skip
    return rows.reshape(quaternions.shape[:-1] + (3, 3))


def matrix_to_quaternion(matrix: torch.Tensor) -> torch.Tensor:
    """Quaternions [..., 4] of rotations [..., 3, 3], with a non-negative real part.

    Raises:
        ValueError: another shape.

    Source: Shepperd 1978, "Quaternion from Rotation Matrix".
    """
    if matrix.size(-1) != 3 or matrix.size(-2) != 3:
        raise ValueError(f"Invalid rotation matrix shape {matrix.shape}.")
    shape = matrix.shape[:-2]
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = torch.unbind(matrix.reshape(shape + (9,)), -1)
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m10 + m01, m02 + m20, m12 + m21
    diagonal = torch.stack((1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22), -1)
    w, x, y, z = torch.unbind(diagonal, -1)
    # Row r is 4 q_r q: the one with the largest q_r loses no digits.
    rows = torch.stack((w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z), -1).reshape(shape + (4, 4))
    best = diagonal.argmax(-1, keepdim=True)
    row = rows.gather(-2, best[..., None].expand(shape + (1, 4)))[..., 0, :]
    return standardize_quaternion(row / (2 * diagonal.gather(-1, best).clamp(min=1e-12).sqrt()))


def standardize_quaternion(quaternions: torch.Tensor) -> torch.Tensor:
    """The same rotations with a non-negative real part."""
    return torch.where(quaternions[..., 0:1] < 0, -quaternions, quaternions)


def random_quaternions(n: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> torch.Tensor:
    """Unit quaternions [n, 4], uniform over rotations, with a non-negative real part."""
    return standardize_quaternion(F.normalize(torch.randn((n, 4), dtype=dtype, device=device), dim=-1))


def random_rotations(n: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> torch.Tensor:
    """Uniform rotations [n, 3, 3]."""
    return quaternion_to_matrix(random_quaternions(n, dtype=dtype, device=device))


def random_rotation(dtype: torch.dtype | None = None, device: torch.device | None = None) -> torch.Tensor:
    """One uniform rotation [3, 3]."""
    return random_rotations(1, dtype, device)[0]


def quaternion_raw_multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Hamilton's product of quaternions [..., 4]."""
    aw, ax, ay, az = torch.unbind(a, -1)
    bw, bx, by, bz = torch.unbind(b, -1)
    return torch.stack(
        (
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ),
        -1,
    )


def quaternion_multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product, with a non-negative real part: b's rotation, then a's."""
    return standardize_quaternion(quaternion_raw_multiply(a, b))


def quaternion_invert(quaternion: torch.Tensor) -> torch.Tensor:
    """Inverses of unit quaternions [..., 4]."""
    return torch.cat((quaternion[..., :1], -quaternion[..., 1:]), -1)


def quaternion_apply(quaternion: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Points [..., 3] rotated by unit quaternions [..., 4].

    Raises:
        ValueError: points of another shape.
    """
    if point.size(-1) != 3:
        raise ValueError(f"Points are not in 3D, {point.shape}.")
    pure = torch.cat((torch.zeros_like(point[..., :1]), point), -1)
    turned = quaternion_raw_multiply(quaternion_raw_multiply(quaternion, pure), quaternion_invert(quaternion))
    return turned[..., 1:]


def axis_angle_to_quaternion(axis_angle: torch.Tensor) -> torch.Tensor:
    """Quaternions [..., 4] of axis times angle [..., 3]."""
    angle = torch.norm(axis_angle, p=2, dim=-1, keepdim=True)
    # sin(angle / 2) / angle, which sinc knows at 0.
    return torch.cat((torch.cos(angle / 2), axis_angle * (0.5 * torch.sinc(angle / (2 * torch.pi)))), -1)


def quaternion_to_axis_angle(quaternions: torch.Tensor) -> torch.Tensor:
    """Axis times angle [..., 3] of unit quaternions [..., 4]."""
    vector = quaternions[..., 1:]
    half = torch.atan2(torch.norm(vector, p=2, dim=-1, keepdim=True), quaternions[..., :1])
    return vector / (0.5 * torch.sinc(half / torch.pi))


def axis_angle_to_matrix(axis_angle: torch.Tensor, fast: bool = False) -> torch.Tensor:
    """Matrices [..., 3, 3] of axis times angle [..., 3].

    Args:
        axis_angle: in radians.
        fast: by Rodrigues' formula instead of by quaternions.
    """
    if not fast:
        return quaternion_to_matrix(axis_angle_to_quaternion(axis_angle))
    cross = hat_of(axis_angle)
    sine, cosine, _ = versine_terms((axis_angle * axis_angle).sum(-1)[..., None, None])
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    return identity + sine * cross + cosine * (cross @ cross)


def matrix_to_axis_angle(matrix: torch.Tensor, fast: bool = False) -> torch.Tensor:
    """Axis times angle [..., 3] of rotations [..., 3, 3].

    Args:
        matrix: rotations.
        fast: from the antisymmetric part where that is accurate, instead of by quaternions everywhere.
    """
    by_quaternion = quaternion_to_axis_angle(matrix_to_quaternion(matrix))
    if not fast:
        return by_quaternion
    twice = torch.stack(
        (
            matrix[..., 2, 1] - matrix[..., 1, 2],
            matrix[..., 0, 2] - matrix[..., 2, 0],
            matrix[..., 1, 0] - matrix[..., 0, 1],
        ),
        -1,
    )
    trace = matrix[..., 0, 0] + matrix[..., 1, 1] + matrix[..., 2, 2]
    angle = torch.atan2(torch.norm(twice, p=2, dim=-1, keepdim=True), (trace - 1)[..., None])
    return torch.where(angle > 3.0, by_quaternion, 0.5 * twice / torch.sinc(angle / torch.pi))


def _axis(letter: str) -> int:
    index = "XYZ".find(letter)
    if len(letter) != 1 or index < 0:
        raise ValueError(f"Invalid letter {letter} in convention string.")
    return index


def _check_convention(convention: str) -> None:
    if len(convention) != 3:
        raise ValueError("Convention must have 3 letters.")
    if convention[1] == convention[0] or convention[1] == convention[2]:
        raise ValueError(f"Invalid convention {convention}.")


def _about_axis(axis: int, angle: torch.Tensor) -> torch.Tensor:
    """Rotations [..., 3, 3] about a coordinate axis."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    rows = [one, zero, zero, zero, cos, -sin, zero, sin, cos]
    if axis == 1:
        rows = [cos, zero, sin, zero, one, zero, -sin, zero, cos]
    elif axis == 2:
        rows = [cos, -sin, zero, sin, cos, zero, zero, zero, one]
    return torch.stack(rows, -1).reshape(angle.shape + (3, 3))


def euler_angles_to_matrix(euler_angles: torch.Tensor, convention: str) -> torch.Tensor:
    """Matrices [..., 3, 3] of angles [..., 3] about three axes.

    Args:
        euler_angles: in radians.
        convention: three letters of "XYZ": the product of rotations about them, in this order.

    Raises:
        ValueError: another shape or convention.
    """
    if euler_angles.dim() == 0 or euler_angles.shape[-1] != 3:
        raise ValueError("Invalid input euler angles.")
    _check_convention(convention)
    a, b, c = torch.unbind(euler_angles, -1)
    first = _about_axis(_axis(convention[0]), a)
    second = _about_axis(_axis(convention[1]), b)
    return first @ second @ _about_axis(_axis(convention[2]), c)


def matrix_to_euler_angles(matrix: torch.Tensor, convention: str) -> torch.Tensor:
    """Angles [..., 3] about three axes of rotations [..., 3, 3]; see `euler_angles_to_matrix`.

    Raises:
        ValueError: another shape or convention.
    """
    _check_convention(convention)
    if matrix.size(-1) != 3 or matrix.size(-2) != 3:
        raise ValueError(f"Invalid rotation matrix shape {matrix.shape}.")
    i, j, last = _axis(convention[0]), _axis(convention[1]), _axis(convention[2])
    k = 3 - i - j
    sign = 1.0 if (j - i) % 3 == 1 else -1.0  # whether i, j, k are in cyclic order
    if last == i:
        middle = torch.acos(matrix[..., i, i].clamp(-1.0, 1.0))
        first = torch.atan2(matrix[..., j, i], -sign * matrix[..., k, i])
        third = torch.atan2(matrix[..., i, j], sign * matrix[..., i, k])
    else:
        middle = torch.asin((sign * matrix[..., i, k]).clamp(-1.0, 1.0))
        first = torch.atan2(-sign * matrix[..., j, k], matrix[..., k, k])
        third = torch.atan2(-sign * matrix[..., i, j], matrix[..., i, i])
    return torch.stack((first, middle, third), -1)


def rotation_6d_to_matrix(d6: torch.Tensor) -> torch.Tensor:
    """Rotations [..., 3, 3] whose first two rows are [..., :3] and [..., 3:], made orthonormal.

    Source: Zhou et al. 2019, "On the Continuity of Rotation Representations in Neural Networks".
    """
    first = F.normalize(d6[..., :3], dim=-1)
    second = d6[..., 3:]
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack((first, second, torch.cross(first, second, dim=-1)), -2)


def matrix_to_rotation_6d(matrix: torch.Tensor) -> torch.Tensor:
    """The first two rows of rotations, [..., 6]."""
    return matrix[..., :2, :].clone().reshape(matrix.shape[:-2] + (6,))
