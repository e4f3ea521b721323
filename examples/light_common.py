"""Code shared by the light transport examples: figures of pictures and of error curves."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from lumigrad._optional import require
from lumigrad.scene.color import srgb_encode


def save_figure(
    path: Path, pictures: Sequence[Sequence[tuple[str, Tensor]]], errors: Mapping[str, Sequence[float]]
) -> None:
    """Rows of named pictures of linear light [H, W, 3], above curves of errors by step."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    pyplot = require("matplotlib.pyplot", "save_figure")
    rows, columns = len(pictures), max(map(len, pictures))
    heights = [max(picture.shape[0] / picture.shape[1] for _, picture in row) for row in pictures]
    figure = pyplot.figure(figsize=(2.3 * columns, 2.3 * sum(heights) + 0.3 * rows + 2.4), layout="constrained")
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*heights, 0.9])
    for i, row in enumerate(pictures):
        for j, (name, picture) in enumerate(row):
            axes = figure.add_subplot(grid[i, j])
            axes.imshow(srgb_encode(picture.detach().clamp(0, 1)).numpy(), interpolation="nearest")
            axes.set_title(name, fontsize=9)
            axes.set_axis_off()
    axes = figure.add_subplot(grid[rows, :])
    for name, values in errors.items():
        axes.plot(range(len(values)), values, label=name, linewidth=1)
    axes.set_yscale("log")
    axes.set_xlabel("step", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=90)
    pyplot.close(figure)
