"""The fitted model: the shape of every frame, one texture, and the exposure of each camera."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lumigrad.scene.rotations import axis_angle_to_matrix
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types.shapes import Float, Int

Rigid = Literal["sequence", "frame", "none"]
# Number of neighbouring frames whose initial weights are alike.
_MEMORY = 3.0


def check_rigid(rigid: str) -> None:
    """Raise ValueError unless a word says what moves rigidly."""
    if rigid not in get_args(Rigid):
        raise ValueError(f"rigid: expected one of {', '.join(get_args(Rigid))}, got {rigid!r}")


class CaptureModel(nn.Module):
    """Shapes V_i = V_base + M3 M2 M1 w_i of frames, each moved by a rotation and a translation.

    Of several transforms, the first stays the identity, so that the base and the texture are where the first sequence
    (or frame) has them: a motion common to all would be the base's.

    Weights w_i begin as noise that changes smoothly from frame to frame, the first of them as 1, M1 and M2 as the
    identity, and M3 as zero: the first shapes are those of the base. One texture and, for each camera, contrast and
    brightness belong to it.

    Args:
        base: the mesh of the first shapes, with texture coordinates.
        counts: frames of each sequence.
        cameras: how many there are.
        widths: sizes of w_i, M1 w_i and M2 M1 w_i; None for an offset of each vertex in each frame in their place.
        rigid: whether a sequence, a frame, or nothing has a transform of its own.
        texture_size: rows and columns.
        channels: of the texture.
        seed: of the first weights.

    Raises:
        ValueError: a base without texture coordinates, nothing to fit, or another word for `rigid`.

    Source: Laine et al. 2020, section 5.

    >>> import torch
    >>> from lumigrad.fit.capture import CaptureModel, head
    >>> base = head(level=1, texture_height=16)
    >>> model = CaptureModel(base, counts=[4, 2], cameras=3, widths=(8, 8, 8), texture_size=16)
    >>> shapes = model.positions(torch.tensor([0, 5]))  # of the first frame of all, and of the last
    >>> shapes.shape, torch.equal(shapes[1], base.positions)
    (torch.Size([2, 42, 3]), True)
    """

    base: Tensor

    def __init__(
        self,
        base: Mesh,
        counts: Sequence[int],
        cameras: int,
        widths: tuple[int, int, int] | None = (64, 64, 64),
        rigid: Rigid = "sequence",
        texture_size: int = 512,
        channels: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if base.uvs is None or base.uv_faces is None:
            raise ValueError("base: expected a mesh with texture coordinates")
        if not counts or min(counts) < 1 or cameras < 1:
            raise ValueError(f"counts, cameras: expected at least one of each, got {list(counts)} and {cameras}")
        check_rigid(rigid)
        self.mesh, self.counts, self.rigid = base, tuple(counts), rigid
        self.register_buffer("base", base.positions.clone(), persistent=False)
        frames, vertices = sum(counts), len(base.positions)
        kind = base.positions.dtype
        if widths is None:
            self.offsets = nn.Parameter(torch.zeros(frames, vertices, 3, dtype=kind))
        else:
            self.weights = nn.Parameter(_smooth_noise(counts, widths[0], seed).to(kind))
            self.m1 = nn.Parameter(torch.eye(widths[1], widths[0], dtype=kind))
            self.m2 = nn.Parameter(torch.eye(widths[2], widths[1], dtype=kind))
            self.m3 = nn.Parameter(torch.zeros(3 * vertices, widths[2], dtype=kind))
        if rigid != "none":
            movers = frames if rigid == "frame" else len(counts)
            self.held = int(movers > 1)
            self.turns = nn.Parameter(torch.zeros(movers - self.held, 3, dtype=kind))
            self.shifts = nn.Parameter(torch.zeros_like(self.turns))
        self.texture = nn.Parameter(torch.full((texture_size, texture_size, channels), 0.5, dtype=kind))
        self.contrast = nn.Parameter(torch.zeros(cameras, dtype=kind))  # logarithm
        self.brightness = nn.Parameter(torch.zeros(cameras, dtype=kind))
        sequence = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(self.counts))
        self.register_buffer("mover", torch.arange(frames) if rigid == "frame" else sequence, persistent=False)

    @property
    def frames(self) -> int:
        """The number of frames in all sequences."""
        return sum(self.counts)

    def deltas(self, frames: Int[Tensor, " frames"]) -> Float[Tensor, "frames vertices 3"]:
        """Offsets from the base, before the rigid transform."""
        if hasattr(self, "offsets"):
            return self.offsets[frames]
        codes = self.weights[frames] @ self.m1.T @ self.m2.T
        return (codes @ self.m3.T).unflatten(1, (-1, 3))

    def moved(
        self, shapes: Float[Tensor, "frames vertices 3"], frames: Int[Tensor, " frames"]
    ) -> Float[Tensor, "frames vertices 3"]:
        """Shapes after the rigid transforms of their frames, about the origin."""
        if self.rigid == "none":
            return shapes
        mover = self.mover[frames]  # type: ignore[index]
        turns, shifts = (nn.functional.pad(values, (0, 0, self.held, 0)) for values in (self.turns, self.shifts))
        return shapes @ axis_angle_to_matrix(turns[mover]).transpose(1, 2) + shifts[mover][:, None]

    def positions(self, frames: Int[Tensor, " frames"]) -> Float[Tensor, "frames vertices 3"]:
        """Shapes of frames, in the world."""
        return self.moved(self.base + self.deltas(frames), frames)

    def exposed(
        self, images: Float[Tensor, "views height width channels"], cameras: Int[Tensor, " views"]
    ) -> Float[Tensor, "views height width channels"]:
        """Images as cameras record them: contrast times the image, plus brightness."""
        contrast, brightness = self.contrast[cameras].exp(), self.brightness[cameras]
        return images * contrast[:, None, None, None] + brightness[:, None, None, None]

    @torch.no_grad()
    def settle(self) -> None:
        """Project values back to their valid range: texels in [0, 1]; the cameras' mean contrast 1 and brightness 0."""
        self.texture.clamp_(0, 1)
        self.contrast.sub_(self.contrast.mean())
        self.brightness.sub_(self.brightness.mean())


def _smooth_noise(counts: Sequence[int], width: int, seed: int) -> Tensor:
    """Weights [F, width] of the first step: 1, then noise of standard deviation 1 that frames nearby share."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for count in counts:
        time = torch.arange(count, dtype=torch.float64)
        near = torch.exp(-0.5 * ((time[:, None] - time) / _MEMORY).square())
        near = near / near.square().sum(1, keepdim=True).sqrt()
        parts.append(near @ torch.randn(count, width, dtype=torch.float64, generator=generator))
    weights = torch.cat(parts)
    weights[:, 0] = 1
    return weights
