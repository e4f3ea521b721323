"""Methods of Rendering, besides its tensors."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from lumigrad.render import Rendering


def test_notebooks_show_the_images_side_by_side_on_white() -> None:
    color = torch.zeros(2, 3, 4, 3)
    color[1] = torch.tensor([1.0, 0.0, 0.0])
    shot = Rendering(color, torch.stack([torch.zeros(3, 4, 1), torch.ones(3, 4, 1)]))
    shown = torch.from_numpy(np.array(Image.open(io.BytesIO(shot._repr_png_()))))
    assert shown.shape == (3, 8, 3)
    assert (shown[:, :4] == 255).all()
    assert (shown[:, 4:] == torch.tensor([255, 0, 0])).all()
    assert Rendering(torch.zeros(1, 3, 4, 7), torch.zeros(1, 3, 4, 1))._repr_png_() is None  # features are no colours
