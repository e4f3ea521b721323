"""The viewer in a real browser, where Chromium and its driver are installed, and its window without one."""

from __future__ import annotations

import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lumigrad.scene import PerspectiveCamera
from lumigrad.view import Pace, Viewer
from lumigrad.view.viewer import _Window

pytest.importorskip("viser")


def _until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Wait for the first true value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


class FakeClient:
    """Keeps the pictures that it is sent."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []
        self.camera = SimpleNamespace(image_height=400, image_width=600, on_update=self._listen)
        self.scene = SimpleNamespace(set_background_image=self._show)

    def _listen(self, moved: Callable[[Any], None]) -> None:
        self.move = lambda: moved(None)

    def _show(self, image: np.ndarray, **_: Any) -> None:
        self.sizes.append(image.shape[:2])

    def flush(self) -> None:
        pass


def test_small_while_it_moves_and_whole_at_rest() -> None:
    client = FakeClient()

    def frame(_: Any, pace: Pace, moving: bool) -> tuple[np.ndarray, None]:
        size = pace.size((400, 600), moving)
        pace.measured(size, 1e-5 * size[0] * size[1])  # 2.4 seconds for a whole one, as is pretended
        return np.zeros((*size, 3), np.uint8), None

    window = _Window(client, frame, lambda *_: None, lambda: (400, 600))
    _until(lambda: (400, 600) in client.sizes)
    seen = len(client.sizes)
    assert client.sizes[0][0] < 200
    client.move()
    _until(lambda: len(client.sizes) >= seen + 2)
    assert client.sizes[seen][0] < 200
    assert client.sizes[-1] == (400, 600)
    window.close()
    client.move()
    window.thread.join(10.0)
    assert not window.thread.is_alive()
    assert len(client.sizes) == seen + 2  # nothing is drawn any more


def test_errors_of_what_draws_do_not_end_the_window() -> None:
    client, wrong = FakeClient(), [True]

    def frame(*_: Any) -> tuple[np.ndarray, None]:
        if wrong[0]:
            raise ValueError("no normals")
        return np.zeros((400, 600, 3), np.uint8), None

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        window = _Window(client, frame, lambda *_: None, lambda: (400, 600))
        _until(lambda: any("not drawn: no normals" in str(one.message) for one in list(said)))
        wrong[0] = False
        client.move()
        _until(lambda: client.sizes)
    window.close()


def _stripes(camera: PerspectiveCamera, shading: str) -> tuple[Tensor, None]:
    """A picture that says where the camera is: red grows with x, green with the height."""
    place = camera.position.float()
    color = torch.stack([0.5 + 0.1 * place[0], 0.5 + 0.1 * place[1], torch.tensor(0.2)])
    return color.clamp(0, 1).expand(*camera.size, 3), None


@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="needs Chromium")
def test_in_chromium(tmp_path: Path) -> None:
    """It loads, draws, follows a drag, and survives a reload."""
    webdriver = pytest.importorskip("selenium.webdriver")
    actions = pytest.importorskip("selenium.webdriver.common.action_chains")
    options = webdriver.ChromeOptions()
    software = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    for option in ("--headless=new", "--no-sandbox", "--window-size=700,400", f"--user-data-dir={tmp_path}", *software):
        options.add_argument(option)
    options.binary_location = shutil.which("chromium")
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    viewer = Viewer(_stripes, (0.0, 0.0, 0.0), 1.0, port=18471)
    browser = webdriver.Chrome(options=options, service=service)

    def middle() -> tuple[int, ...]:
        from PIL import Image

        file = tmp_path / "page.png"
        browser.save_screenshot(str(file))
        picture = Image.open(file).convert("RGB")
        return picture.getpixel((picture.width // 4, picture.height * 3 // 4))

    def drawn() -> tuple[int, ...] | None:
        color = middle()
        return color if abs(color[2] - 51) < 12 and max(color[:2]) < 240 else None  # blue is 0.2

    try:
        browser.get(viewer.address)
        before = _until(drawn)
        canvas = browser.find_element("tag name", "canvas")
        chain = actions.ActionChains(browser).move_to_element_with_offset(canvas, -150, 50)
        chain.click_and_hold().move_by_offset(90, 30).release().perform()
        moved = _until(lambda: (color := drawn()) and max(abs(a - b) for a, b in zip(color, before)) > 15 and color)
        assert moved != before
        browser.refresh()
        again = _until(drawn)
        assert max(abs(a - b) for a, b in zip(again, before)) < 10  # it begins anew
    finally:
        browser.quit()
        viewer.close()


def test_browsers_begin_at_a_photograph() -> None:
    viewer = Viewer(_stripes, (0.0, 0.0, 0.0), 1.0, port=18481)
    camera = PerspectiveCamera.orbit(torch.tensor(40.0, dtype=torch.float64), 10.0, 2.5, 50.0, (30, 40))
    viewer.begin_at(camera)
    begin = viewer._server.initial_camera
    viewer.close()
    np.testing.assert_allclose(begin.position, camera.position, atol=1e-12)
    np.testing.assert_allclose(begin.look_at, (0, 0, 0), atol=1e-12)  # what it orbits
    assert begin.fov == pytest.approx(np.radians(50))


def test_two_servers() -> None:
    """The next port is taken where one is in use."""
    first, second = (Viewer(_stripes, (0.0, 0.0, 0.0), 1.0, port=18491) for _ in range(2))
    assert first.address != second.address
    first.close()
    second.close()


def test_no_shadings() -> None:
    with pytest.raises(ValueError, match="shadings"):
        Viewer(_stripes, (0.0, 0.0, 0.0), 1.0, shadings=())
