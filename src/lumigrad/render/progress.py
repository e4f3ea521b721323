"""Progress of long renderings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lumigrad._optional import require

Report = Callable[[float], None]


@contextmanager
def shown_progress(progress: bool | Report, images: int) -> Iterator[Callable[[int], Report]]:
    """A function from an image's number to a function that receives the fraction of the image that is done.

    progress: True shows a bar; a function receives the fraction of all that is done.

    Raises:
        TypeError: something else.
    """
    if callable(progress):
        told = progress
        yield lambda number: lambda part: told((number + part) / images)
    elif progress is False:
        yield lambda number: lambda part: None
    elif progress is True:
        with require("tqdm", "the progress bar").tqdm(total=100, unit="%", desc="paths", dynamic_ncols=True) as bar:

            def show(part: float) -> None:
                bar.update(max(0, round(100 * part) - bar.n))

            yield lambda number: lambda part: show((number + part) / images)
    else:
        raise TypeError(f"progress: expected a bool or a function, got {type(progress).__name__}")
