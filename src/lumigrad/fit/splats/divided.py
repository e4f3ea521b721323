"""Steps and pictures of primitives that are divided among several processes.

Each process projects its own primitives for the cameras of a step, and sends the footprints to the processes that draw
the image lines they touch. These draw and compare, and send the gradients back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lumigrad.fit.distributed import Group, exchanged
from lumigrad.fit.photos import Photo
from lumigrad.fit.splats.divided_rows import DividedRows
from lumigrad.fit.splats.models import DivisibleModel, Footprints, Parameters
from lumigrad.fit.splats.strips import Strip, loss_of_strip, strips_of, touching
from lumigrad.scene.cameras.camera import PerspectiveCamera


class Gradients(NamedTuple):
    """The gradients of a step's photographs for the primitives of this process.

    Attributes:
        grads: of the mean of their losses, by parameter.
        pulls: lengths [B, V] of the gradients of each photograph's loss with respect to positions.
        losses: [B], of the photographs; this process's part of each.
    """

    grads: dict[str, Tensor]
    pulls: Tensor
    losses: Tensor


def divided_gradients(
    rows: DividedRows, photos: Sequence[Photo], model: DivisibleModel, structure: float, background: float,
    progress: float,
) -> Gradients:  # fmt: skip
    """The gradients of a step's photographs, which are drawn by all processes; to be called by all.

    Args:
        structure, background: see `Schedule`.
    """
    group = rows.group
    heights = [photo.camera.size[0] for photo in photos]
    strips = strips_of(heights, group.size)
    leaves = {name: value.detach().requires_grad_() for name, value in rows.parameters.items()}
    seen = [model.footprints(leaves, photo.camera, progress) for photo in photos]
    sent = [one.values.detach().requires_grad_() for one in seen]
    received, parts = _spread(group, seen, sent, heights, strips)
    others = len(received) - sum(parts[group.rank])
    rows.traffic.bytes += 2 * others * received.shape[1] * received.element_size()  # values, and their gradients
    rows.traffic.steps += 1
    drawn = received.detach().requires_grad_()
    losses = drawn.new_zeros(len(photos))
    for strip, values in zip(strips[group.rank], _of_strips(drawn, parts), strict=True):
        photo = photos[strip.picture]
        lines = strip.drawn(heights[strip.picture])
        image = model.composite(values, photo.camera, lines, background, progress)
        loss = loss_of_strip(image, photo, strip, structure)
        (loss / len(photos)).backward()
        losses[strip.picture] += loss.detach()
    received.backward(torch.zeros_like(drawn) if drawn.grad is None else drawn.grad)
    grads, pulls = _pulled(leaves, seen, sent)
    return Gradients(grads, pulls, losses)


def _spread(
    group: Group, seen: Sequence[Footprints], sent: Sequence[Tensor], heights: Sequence[int],
    strips: Sequence[Sequence[Strip]],
) -> tuple[Tensor, list[list[int]]]:  # fmt: skip
    """Send footprints to the processes that draw the strips which they touch.

    Args:
        sent: the values of `seen`, from which gradients are wanted.
        strips: of each process.

    Returns:
        The values received, and how many there are from each process for each of this one's strips.
    """
    packets, counts = [], []
    for mine in strips:
        for strip in mine:
            one = seen[strip.picture]
            chosen = touching(strip, heights[strip.picture], one.top, one.bottom)
            packets.append(sent[strip.picture].index_select(0, chosen))
            counts.append(len(chosen))
    shares = [len(mine) for mine in strips]
    told, _ = group.exchange(torch.tensor(counts, device="cpu"), shares, [shares[group.rank]] * group.size)
    parts = told.view(group.size, -1)
    totals = [sum(part.tolist()) for part in torch.tensor(counts, device="cpu").split(shares)]
    received, _ = exchanged(group, torch.cat(packets), totals, parts.sum(1).tolist())
    return received, parts.tolist()


def _of_strips(drawn: Tensor, parts: list[list[int]]) -> list[Tensor]:
    """The values of each strip, in the order of processes, which is that of primitives."""
    count = len(parts[0])
    blocks = drawn.split([number for part in parts for number in part])
    return [torch.cat(blocks[strip::count]) for strip in range(count)]


def _pulled(leaves: Parameters, seen: Sequence[Footprints], sent: Sequence[Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """From the gradients of footprints to those of parameters, photograph by photograph."""
    grads = {name: torch.zeros_like(leaf) for name, leaf in leaves.items()}
    pulls = []
    for footprints, values in zip(seen, sent, strict=True):
        for leaf in leaves.values():
            leaf.grad = None
        torch.autograd.backward([footprints.values], [values.grad])
        for name, leaf in leaves.items():
            if leaf.grad is not None:
                grads[name] += leaf.grad
        pulls.append(len(seen) * _gradient(leaves["means"]).norm(dim=-1))
    return grads, torch.stack(pulls)


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


class Drawing:
    """Whole pictures of primitives that processes divide: each process asks for those that it wants.

    All take part in each picture. A process that wants no more of them calls `finish`, which ends when all have.

    ::

        draw = Drawing(rows, model, background, progress)
        images = [draw(camera) for camera in mine]
        draw.finish()
    """

    def __init__(self, rows: DividedRows, model: DivisibleModel, background: float, progress: float) -> None:
        self._rows, self._model, self._background, self._progress = rows, model, background, progress

    def __call__(self, camera: PerspectiveCamera) -> Tensor:
        """The image [1, H, W, 3] that a camera [1] sees."""
        values = self._round(camera)
        assert values is not None
        return self._model.composite(values, camera, slice(0, camera.size[0]), self._background, self._progress)

    def finish(self) -> None:
        """Help the other processes with their pictures until none wants any more."""
        while self._round(None) is not None:
            pass

    @torch.no_grad()
    def _round(self, camera: PerspectiveCamera | None) -> Tensor | None:
        """The values of footprints for a picture of each process; None where none wants one."""
        group, rows = self._rows.group, self._rows
        wanted = group.joined(_packed(camera)[None])
        if not bool((wanted[:, 0] > 0).any()):
            return None
        cameras = [_unpacked(row.to(rows.device)) for row in wanted]
        parts = [
            rows.parameters["means"].new_zeros(0)
            if one is None
            else self._model.footprints(rows.parameters, one, self._progress).values
            for one in cameras
        ]
        width = max(part.shape[1] for part in parts if part.dim() > 1)
        sent = torch.cat([part.view(-1, width) for part in parts])
        return group.exchange(sent, [len(part) for part in parts])[0]


def _packed(camera: PerspectiveCamera | None) -> Tensor:
    """A camera [1] as numbers [23], the first one of which says whether there is one."""
    if camera is None:
        return torch.zeros(23, dtype=torch.float64, device="cpu")
    inner = [value.reshape(1) for value in (camera.fx, camera.fy, camera.cx, camera.cy)]
    numbers = torch.cat([camera.world_to_camera.reshape(16), *inner]).double().cpu()
    return torch.cat([numbers.new_tensor([1.0, *camera.size]), numbers])


def _unpacked(numbers: Tensor) -> PerspectiveCamera | None:
    there, height, width = numbers[:3].tolist()
    if not there:
        return None
    values = numbers[3:].float()
    fx, fy, cx, cy = values[16:].split(1)
    return PerspectiveCamera(values[:16].view(1, 4, 4), fx, fy, cx, cy, (int(height), int(width)))
