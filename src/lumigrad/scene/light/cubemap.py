"""Cube maps and equirectangular images: directions, solid angles, conversion both ways.

Cube maps are [6, S, S, C] with OpenGL's faces and orientations in the order +x -x +y -y +z -z, as `texture_cube` has
them. Equirectangular images are [H, W, C], seen from inside: the middle of the image is -z, where a camera with an
identity view looks; +x is a quarter of the width to the right of it, +y the top row, -y the bottom row. A direction
(x, y, z) of length 1 is found at u = 1/2 + atan2(x, -z) / (2 pi), v = acos(y) / pi.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lumigrad.ops.texture import texture, texture_cube
from lumigrad.ops.texture._build_mips import check_texture
from lumigrad.types.shapes import Float
from lumigrad.types.validation import floating, integer


def cube_directions(
    size: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Float[Tensor, "6 side side 3"]:
    """Directions through the texels' centres [6, S, S, 3], not of unit length: the largest component is 1 or -1."""
    s = (2 * torch.arange(size, dtype=dtype, device=device) + 1) / size - 1
    t, s = torch.meshgrid(s, s, indexing="ij")
    one = torch.ones_like(s)
    faces = [(one, -t, -s), (-one, -t, s), (s, one, t), (s, -one, -t), (s, -t, one), (-s, -t, -one)]
    return torch.stack([torch.stack(face, -1) for face in faces])


def cube_solid_angles(
    size: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Float[Tensor, "side side"]:
    """Solid angle of each texel of a face [S, S], exactly; six faces add up to 4 pi.

    The rectangle from the centre of a face to its point (s, t) has the solid angle atan(s t / sqrt(1 + s^2 + t^2)).
    """
    edge = 2 * torch.arange(size + 1, dtype=torch.float64, device=device) / size - 1
    s, t = edge[None], edge[:, None]
    corner = torch.atan(s * t / (1 + s * s + t * t).sqrt())
    return corner.diff(dim=0).diff(dim=1).to(dtype)


def equirect_directions(
    height: int, width: int, dtype: torch.dtype = torch.float32, device: torch.device | str | None = None
) -> Float[Tensor, "height width 3"]:
    """Unit directions of the pixels of an equirectangular image [H, W, 3]."""
    theta = (torch.arange(height, dtype=dtype, device=device) + 0.5) * (math.pi / height)
    phi = (torch.arange(width, dtype=dtype, device=device) + 0.5) * (2 * math.pi / width) - math.pi
    theta, phi = torch.meshgrid(theta, phi, indexing="ij")
    return torch.stack([theta.sin() * phi.sin(), theta.cos(), -theta.sin() * phi.cos()], -1)


def sample_equirect(
    image: Float[Tensor, "height width channels"], directions: Float[Tensor, "rows columns 3"]
) -> Float[Tensor, "rows columns channels"]:
    """Look an equirectangular image up in unit directions [h, w, 3]; linear, seamless around and over the poles."""
    height, width = image.shape[:2]
    # Beyond a pole lies the same row, half way around; sideways, a repeating texture is already right.
    over = [image[:1].roll(width // 2, dims=1), image, image[-1:].roll(width // 2, dims=1)]
    x, y, z = directions.unbind(-1)
    u = 0.5 + torch.atan2(x, -z) / (2 * math.pi)
    v = torch.acos(y.clamp(-1, 1)) / math.pi
    uv = torch.stack([u, (v * height + 1) / (height + 2)], -1)
    return texture(torch.cat(over)[None], uv[None], filter="linear")[0]


def _average(image: Tensor, step: int) -> Tensor:
    """Means of blocks of step x step pixels of [..., H, W, C]."""
    *lead, height, width, channels = image.shape
    return image.reshape(*lead, height // step, step, width // step, step, channels).mean((-4, -2))


def equirect_to_cube(
    image: Float[Tensor, "height width channels"], size: int | None = None
) -> Float[Tensor, "6 side side channels"]:
    """Cube map of an equirectangular image.

    Args:
        image: [H, W, C], differentiable.
        size: of a face; H / 2 by default.

    Returns:
        [6, size, size, C]; each texel is the mean of as many lookups as it takes to see all pixels.

    Raises:
        ValueError: another shape, or a size below 1.

    >>> import torch
    >>> from lumigrad.scene import equirect_to_cube
    >>> image = torch.zeros(8, 16, 1)
    >>> image[:4] = 1.0  # the sky
    >>> cube = equirect_to_cube(image)
    >>> cube.shape
    torch.Size([6, 4, 4, 1])
    >>> [round(face.mean().item(), 2) for face in cube]  # +x -x +y -y +z -z
    [0.5, 0.5, 1.0, 0.0, 0.5, 0.5]
    """
    if not isinstance(image, Tensor) or image.ndim != 3 or not image.is_floating_point() or 0 in image.shape:
        got = list(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise ValueError(f"image: expected floating [H, W, C], got {got}")
    floating("image", image)
    size = max(1, image.shape[0] // 2) if size is None else integer("size", size, 1, 32768)
    step = max(2, math.ceil(image.shape[0] / (2 * size)))
    directions = torch.nn.functional.normalize(cube_directions(size * step, image.dtype, image.device), dim=-1)
    return torch.stack([_average(sample_equirect(image, face), step) for face in directions])


def cube_to_equirect(
    cube: Float[Tensor, "6 side side channels"], height: int | None = None
) -> Float[Tensor, "height width channels"]:
    """Equirectangular image [height, 2 height, C] of a cube map [6, S, S, C]; 2 S rows by default.

    Raises:
        ValueError: another shape, or a height below 1.

    >>> import torch
    >>> from lumigrad.scene import cube_to_equirect
    >>> cube = torch.zeros(6, 4, 4, 1)
    >>> cube[2] = 1.0  # light from above
    >>> image = cube_to_equirect(cube)
    >>> image.shape, image[0, 0].item(), image[-1, 0].item()
    (torch.Size([8, 16, 1]), 1.0, 0.0)
    """
    cube = check_texture(cube[None], cube=True)[0]
    height = 2 * cube.shape[1] if height is None else height
    if height < 1:
        raise ValueError(f"height: expected at least 1, got {height}")
    step = max(2, math.ceil(2 * cube.shape[1] / height))
    directions = equirect_directions(height * step, 2 * height * step, cube.dtype, cube.device)
    return _average(texture_cube(cube[None], directions[None], filter="linear")[0], step)
