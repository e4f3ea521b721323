"""The page: a server, the controls around the picture, and one thread per connected browser."""

from __future__ import annotations

import io
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lumigrad._optional import require
from lumigrad.scene.cameras.camera import PerspectiveCamera
from lumigrad.view.pace import Pace
from lumigrad.view.poses import camera_of, pose_of

# A function from a camera and the name of a shading to an image [H, W, 3] in [0, 1] as displayed, and depths [H, W]
# along the viewing direction (infinite where nothing is), or None.
Draw = Callable[[PerspectiveCamera, str], tuple[Tensor, Tensor | None]]

_REST = 0.15  # seconds without motion before a full-size frame is drawn
_THUMBNAIL = 160  # pixels of the longer side of photographs


class Viewer:
    """Shows the images of a drawing function in the browser, as the camera moves.

    The address is `viewer.address`. While the camera moves, frames are as large as the speed allows; at rest, they have
    full size. Several browsers may look at once, each with its own camera.

    Args:
        draw: called with a camera and one of `shadings`, from other threads; returns an image [H, W, 3] in [0, 1] as it
            is displayed, and depths [H, W] along the viewing direction (infinite where nothing is), or None.
        centre, radius: of a ball that holds what there is to see.
        shadings: names among which the page has a choice.
        up: the direction that points up, [3].
        host: whom to answer: this machine alone by default, "0.0.0.0" for everybody.
        port: where; the next free one if it is taken.

    Raises:
        MissingPackageError: viser is not installed.

    Example:
        viewer = Viewer(draw, centre=(0.0, 0.0, 0.0), radius=1.0)
        viewer.wait()  # until Ctrl+C
    """

    def __init__(
        self,
        draw: Draw,
        centre: Sequence[float],
        radius: float,
        shadings: Sequence[str] = ("colors",),
        up: Sequence[float] = (0.0, 1.0, 0.0),
        host: str = "127.0.0.1",
        port: int = 8080,
    ) -> None:
        if not shadings:
            raise ValueError("shadings: expected at least one name, got none")
        self._draw, self._centre, self._radius = draw, tuple(map(float, centre)), float(radius)
        self._server = require("viser", "Viewer").ViserServer(host=host, port=port, label="lumigrad", verbose=False)
        self._windows: dict[int, _Window] = {}
        self._lock = threading.Lock()
        self._frames: list[Any] = []
        self._server.scene.set_up_direction(tuple(map(float, up)))
        self._begin_in_front(up)
        self._add_controls(shadings)
        self._server.on_client_connect(self._welcome)
        self._server.on_client_disconnect(self._dismiss)

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{self._server.get_host()}:{self._server.get_port()}"

    @property
    def frames_drawn(self) -> int:
        """The number of frames that all browsers together have received."""
        with self._lock:
            return sum(window.frames_drawn for window in self._windows.values())

    @property
    def watched(self) -> bool:
        """Whether a browser is connected."""
        with self._lock:
            return bool(self._windows)

    def show(self, draw: Draw, centre: Sequence[float] | None = None, radius: float | None = None) -> None:
        """From now on, draw with another function (such as that of a newer state of a fit) and in another ball."""
        self._draw = draw
        self._centre = self._centre if centre is None else tuple(map(float, centre))
        self._radius = self._radius if radius is None else float(radius)
        self._redraw()

    def add_photographs(self, cameras: Sequence[PerspectiveCamera], images: Sequence[Tensor | None]) -> None:
        """Show cameras where they are, with their pictures [H, W, 3] in [0, 1], small; a click moves the view there."""
        for number, (camera, image) in enumerate(zip(cameras, images, strict=True)):
            pose = pose_of(camera)
            shown = None if image is None else _bytes(_thumbnail(image))
            frame = self._server.scene.add_camera_frustum(
                f"/photographs/{number}", scale=0.08 * self._radius, image=shown, **pose
            )
            frame.on_click(partial(_move, pose))
            self._frames.append(frame)
        self._photographs.visible = True
        self._redraw()

    def begin_at(self, camera: PerspectiveCamera) -> None:
        """The initial viewpoint of browsers that open the page, instead of one in front of everything."""
        begin, pose = self._server.initial_camera, pose_of(camera)
        position = torch.tensor(pose["position"], dtype=torch.float64)
        forward = -camera.world_to_camera[2, :3].double()
        apart = (torch.tensor(self._centre, dtype=torch.float64) - position) @ forward
        begin.position, begin.fov = pose["position"], pose["fov"]
        begin.look_at = tuple((position + max(float(apart), 0.1 * self._radius) * forward).tolist())

    def wait(self) -> None:
        """Wait until the program is interrupted."""
        self._server.sleep_forever()

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            windows = list(self._windows.values())
        for window in windows:
            window.close()
        self._server.stop()

    def _begin_in_front(self, up: Sequence[float]) -> None:
        """The first view: from the front, the side and above."""
        upward = torch.nn.functional.normalize(torch.tensor(up, dtype=torch.float64), dim=0)
        side = torch.eye(3, dtype=torch.float64)[int((upward.abs() < 0.9).nonzero()[0])]
        side = torch.nn.functional.normalize(side - (side @ upward) * upward, dim=0)
        forward = torch.linalg.cross(side, upward)
        away = torch.nn.functional.normalize(0.5 * side + 0.35 * upward + 0.85 * forward, dim=0)
        begin = self._server.initial_camera
        begin.fov, begin.near, begin.far = 0.7, 1e-3 * self._radius, 1e3 * self._radius
        begin.look_at = self._centre
        begin.position = tuple((torch.tensor(self._centre, dtype=torch.float64) + 3.2 * self._radius * away).tolist())

    def _add_controls(self, shadings: Sequence[str]) -> None:
        gui = self._server.gui
        self._shading = gui.add_dropdown("Shading", tuple(shadings), initial_value=shadings[0])
        self._largest = gui.add_slider("Pixels", min=128, max=2048, step=64, initial_value=768)
        self._photographs = gui.add_checkbox("Photographs", initial_value=True, visible=False)
        screenshot = gui.add_button("Screenshot")
        self._speed = gui.add_markdown("")
        self._shading.on_update(lambda _: self._redraw())
        self._largest.on_update(lambda _: self._redraw())
        self._photographs.on_update(lambda _: self._show_photographs())
        screenshot.on_click(lambda event: self._save(event.client))

    def _show_photographs(self) -> None:
        for frame in self._frames:
            frame.visible = self._photographs.value

    def _welcome(self, client: Any) -> None:
        window = _Window(client, self._frame, self._tell, lambda: _full_size(client.camera, int(self._largest.value)))
        with self._lock:
            self._windows[client.client_id] = window

    def _dismiss(self, client: Any) -> None:
        with self._lock:
            window = self._windows.pop(client.client_id, None)
        if window is not None:
            window.close()

    def _redraw(self) -> None:
        with self._lock:
            for window in self._windows.values():
                window.look()

    def _frame(self, seen: Any, pace: Pace | None, moving: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """A picture, and depths if photographs may lie behind it or in front."""
        full = _full_size(seen, int(self._largest.value))
        size = full if pace is None else pace.size(full, moving)
        camera = camera_of(seen, size, self._centre, self._radius)
        began = time.perf_counter()
        with torch.no_grad():
            image, depth = self._draw(camera, self._shading.value)
        if pace is not None:
            pace.measured(size, time.perf_counter() - began)
        far = None if depth is None or not self._frames else depth.float().nan_to_num(posinf=1e6).cpu().numpy()
        return _bytes(image), far

    def _tell(self, size: tuple[int, int], seconds: float) -> None:
        self._speed.content = f"{size[1]} x {size[0]}, {1 / max(seconds, 1e-6):.1f} frames/s"

    def _save(self, client: Any) -> None:
        image, _ = self._frame(client.camera, None, False)
        file = io.BytesIO()
        require("PIL.Image", "Viewer").fromarray(image).save(file, "png")
        client.send_file_download("lumigrad.png", file.getvalue())


class _Window:
    """One browser: draws again whenever its camera has moved."""

    def __init__(
        self,
        client: Any,
        frame: Callable[..., Any],
        tell: Callable[..., None],
        full_size: Callable[[], tuple[int, int]],
    ) -> None:
        self._client, self._frame, self._tell, self._full_size = client, frame, tell, full_size
        self._pace = Pace()
        self._moved, self._closed = threading.Event(), threading.Event()
        self.frames_drawn = 0
        client.camera.on_update(lambda _: self.look())
        self._moved.set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def look(self) -> None:
        """Note that something has changed."""
        self._moved.set()

    def close(self) -> None:
        self._closed.set()
        self._moved.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            self._moved.wait()
            try:
                self._follow()
            except Exception as error:  # errors of drawing: the next motion or another shading tries again
                self._moved.clear()
                if not self._closed.is_set():
                    warnings.warn(f"not drawn: {error}", stacklevel=2)

    def _follow(self) -> None:
        """Draw while the camera moves, and once more when it rests."""
        whole = True
        while self._moved.is_set() and not self._closed.is_set():
            self._moved.clear()
            whole = self._draw(moving=True)
            self._moved.wait(_REST)
        if not (whole or self._closed.is_set()):
            self._draw(moving=False)

    def _draw(self, moving: bool) -> bool:
        """Draw and send a frame. Returns whether it had full size."""
        began = time.perf_counter()
        image, depth = self._frame(self._client.camera, self._pace, moving)
        size = image.shape[0], image.shape[1]
        whole = not moving or size == self._full_size()
        self._client.scene.set_background_image(image, format="jpeg", jpeg_quality=92 if whole else 75, depth=depth)
        self._client.flush()
        self.frames_drawn += 1
        self._tell(size, time.perf_counter() - began)
        return whole


def _full_size(seen: Any, largest: int) -> tuple[int, int]:
    """The size of the browser's window, limited in the pixels per side."""
    height, width = max(1, int(seen.image_height)), max(1, int(seen.image_width))
    scale = min(1.0, largest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _thumbnail(image: Tensor) -> Tensor:
    step = max(1, -(-max(image.shape[:2]) // _THUMBNAIL))
    return image[::step, ::step]


def _bytes(image: Tensor) -> np.ndarray:
    return (image[..., :3].detach().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _move(pose: dict[str, Any], event: Any) -> None:
    client = event.client
    with client.atomic():
        client.camera.wxyz, client.camera.position, client.camera.fov = pose["wxyz"], pose["position"], pose["fov"]
