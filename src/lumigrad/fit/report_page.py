"""A page with the results of a fit: numbers, pictures, curves, settings."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lumigrad.fit._atomic_file import replacing

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #666; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } code { font-size: .9em; }
.warning { background: #fff3cd; padding: .5rem .8rem; }
"""


class Picture(NamedTuple):
    """An image file in the page's folder, and what it shows."""

    name: str
    caption: str


class Curve(NamedTuple):
    """Points of a line to plot, with the words for its axes."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    x_name: str = "step"


def write_page(
    path: Path,
    title: str,
    numbers: Mapping[str, Any],
    settings: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    curves: Sequence[Curve] = (),
    files: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> None:
    """Write an HTML page without scripts; pictures stay files beside it, and those that are missing are left out.

    Args:
        path: the file; pictures and files are in its folder.
        numbers: results by name; values that are no number or text, such as lists, are left to metrics.json.
        settings: options by name.
        files: other results, to link to.
        warnings: shown first.

    >>> from pathlib import Path
    >>> from lumigrad.fit.report_page import Curve, write_page
    >>> curve = Curve("PSNR", [0, 100, 200], [20.0, 25.0, 26.5])
    >>> write_page(Path("report.html"), "A fit", {"psnr_db": 26.5}, {"seed": 0}, curves=[curve])
    >>> "26.5" in Path("report.html").read_text()
    True
    """
    folder = path.parent
    parts = [f"<h1>{html.escape(title)}</h1>"]
    parts += [f'<p class="warning">{html.escape(text)}</p>' for text in warnings]
    parts += [_figure(picture) for picture in pictures if (folder / picture.name).is_file()]
    parts.append(f"<h2>Results</h2>{_table(numbers)}")
    links = [f'<a href="{html.escape(name)}">{html.escape(name)}</a>' for name in files if (folder / name).is_file()]
    if links:
        parts.append(f"<p>Files: {', '.join(links)}</p>")
    shown = [curve for curve in curves if len(curve.x) > 1]
    if shown:
        parts.append("<h2>Curves</h2>" + "".join(_plot(curve) for curve in shown))
    parts.append(f"<h2>Settings</h2>{_table(settings)}")
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"
    with replacing(path) as file:
        file.write(page.encode())


def _figure(picture: Picture) -> str:
    name, caption = html.escape(picture.name), html.escape(picture.caption)
    return f'<figure><img src="{name}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _table(values: Mapping[str, Any]) -> str:
    rows = []
    for name, value in values.items():
        if isinstance(value, (list, tuple, dict)) and len(str(value)) > 60:
            continue
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = f"{value:.5g}" if isinstance(value, float) else str(value)
        kind = ' class="number"' if number else ""
        rows.append(f"<tr><th>{html.escape(str(name))}</th><td{kind}>{html.escape(text)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _plot(curve: Curve, width: int = 560, height: int = 220, margin: int = 48) -> str:
    """A line in a box, as SVG, with its limits at the axes."""
    low_x, high_x, low_y, high_y = min(curve.x), max(curve.x), min(curve.y), max(curve.y)
    span_x, span_y = (high_x - low_x) or 1.0, (high_y - low_y) or 1.0
    inner_x, inner_y = width - 2 * margin, height - 2 * margin

    def place(x: float, y: float) -> str:
        return f"{margin + (x - low_x) / span_x * inner_x:.1f},{height - margin - (y - low_y) / span_y * inner_y:.1f}"

    points = " ".join(place(x, y) for x, y in zip(curve.x, curve.y, strict=True))
    bottom, left = height - margin, margin
    labels = [
        (left, bottom + 16, "start", f"{low_x:.4g}"),
        (width - margin, bottom + 16, "end", f"{high_x:.4g} {curve.x_name}"),
        (left - 6, bottom, "end", f"{low_y:.4g}"),
        (left - 6, margin + 8, "end", f"{high_y:.4g}"),
        (left, margin - 14, "start", curve.title),
    ]
    texts = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>' for x, y, anchor, text in labels
    )
    frame = f'<rect x="{margin}" y="{margin}" width="{inner_x}" height="{inner_y}" fill="none" stroke="#ccc"/>'
    line = f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>'
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" font-size="12" font-family="system-ui, sans-serif" '
        f'role="img" aria-label="{html.escape(curve.title)}">{frame}{line}{texts}</svg>'
    )
