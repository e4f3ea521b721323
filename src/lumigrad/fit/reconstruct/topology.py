"""Whether surfaces are closed."""

from __future__ import annotations

from torch import Tensor


def is_closed(faces: Tensor) -> bool:
    """Whether each edge of faces [F, 3] belongs to two of them, which run along it in opposite directions.

    >>> from lumigrad.fit.reconstruct.topology import is_closed
    >>> from lumigrad.scene import icosphere
    >>> ball = icosphere(1)
    >>> is_closed(ball.faces), is_closed(ball.faces[1:])
    (True, False)
    """
    start, end = faces.long().reshape(-1), faces.long().roll(-1, 1).reshape(-1)
    count = int(faces.max()) + 1 if len(faces) else 1
    forth, back = (start * count + end).sort().values, (end * count + start).sort().values
    distinct = bool((forth[1:] != forth[:-1]).all())
    return len(faces) > 0 and distinct and bool((forth == back).all())
