"""The first fragments of each pixel that pass a test."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Fragments = tuple[Tensor, ...]


def first_kept(
    fragments: Callable[[int], Fragments], dropped: Callable[[Fragments], Tensor], count: int, asked: int, most: int
) -> Fragments:
    """The first `count` fragments [N, H, W, K, ...] that are not dropped, -1 where there are no more.

    Args:
        fragments: the first so many fragments. The first of its tensors is negative where there are no more.
        dropped: which of them [N, H, W, K] are not wanted.
        count: how many are wanted.
        asked: how many are asked for at first. As many more follow as it takes.
        most: that can be asked for.
    """
    while True:
        out = fragments(asked)
        found = out[0] >= 0
        drop = found & dropped(out)
        short = ((found & ~drop).sum(-1) < count) & found[..., -1]
        if asked >= most or not bool(short.any()):
            break
        asked = min(2 * asked, most)
    if not bool(drop.any()):
        return tuple(value[:, :, :, :count] for value in out)
    order = (drop | ~found).to(torch.uint8).argsort(dim=-1, stable=True)[..., :count]
    gone = (drop | ~found).gather(-1, order)
    return tuple(_ordered(value, order, gone) for value in out)


def _ordered(value: Tensor, order: Tensor, gone: Tensor) -> Tensor:
    beyond = (1,) * (value.ndim - order.ndim)
    shape = (*order.shape, *value.shape[order.ndim :])
    order, gone = order.reshape(*order.shape, *beyond).expand(shape), gone.reshape(*gone.shape, *beyond)
    return torch.where(gone, -1, value.gather(3, order))
