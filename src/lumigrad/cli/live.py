"""`--live`: a fit in the browser while it runs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from lumigrad.cli.arguments import number
from lumigrad.fit.distributed import ALONE
from lumigrad.fit.job import Job
from lumigrad.fit.preview import Preview
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.view import Viewer

_PORT = 8080
_PAUSE = 1.0  # minimum seconds between two states that are shown
_SHARE = 0.05  # fraction of the fit's time that may be spent on copying states


def add_live_option(parser: argparse.ArgumentParser) -> None:
    """`--live`."""
    parser.add_argument(
        "--live",
        type=number(int, 1, 65535),
        nargs="?",
        const=_PORT,
        metavar="PORT",
        help=f"show the fit in the browser while it runs; the page ends with the command ({_PORT})",
    )
    parser.set_defaults(group=ALONE)  # in_group has another where there are several processes


@contextmanager
def live(arguments: argparse.Namespace, job: Job[Any], state: Any) -> Iterator[Callable[[Any], None]]:
    """Serve a page while a fit runs, if that was asked for.

    Args:
        state: from which the fit begins or resumes.

    Yields:
        What is to be called with the state after every step.
    """
    if arguments.live is None or not arguments.group.is_first:
        yield lambda _: None
        return
    page = LivePage(job, state, arguments.live)
    print(f"lumigrad: {arguments.command} is shown at {page.viewer.address} while it runs", file=sys.stderr, flush=True)
    try:
        yield page
    finally:
        page.viewer.close()


class LivePage:
    """A page that shows the states of a fit at little cost, and at none while no browser is connected.

    Args:
        job: with `preview`.
        state: to begin with.
        port: of the page, or the next.
    """

    def __init__(self, job: Job[Any], state: Any, port: int = _PORT) -> None:
        self._job, self._next = job, 0.0
        preview = job.preview(state)
        centre, up = preview.centre.tolist(), preview.up.tolist()
        self.viewer = Viewer(_drawn(preview), centre, preview.radius, up=up, port=port)
        cameras, images = [camera.to("cpu") for camera, _ in preview.photos], [image for _, image in preview.photos]
        self.viewer.add_photographs(cameras, images)
        if cameras:
            self.viewer.begin_at(cameras[0])

    def __call__(self, state: Any) -> None:
        """Show a state, unless one has just been shown."""
        began = time.monotonic()
        if began < self._next or not self.viewer.watched:
            return
        preview = self._job.preview(state)
        self.viewer.show(_drawn(preview), preview.centre.tolist(), preview.radius)
        now = time.monotonic()
        self._next = now + max(_PAUSE, (now - began) / _SHARE)


def _drawn(preview: Preview) -> Callable[[PerspectiveCamera, str], tuple[Tensor, Tensor | None]]:
    return lambda camera, _: (preview.picture(camera), None)
