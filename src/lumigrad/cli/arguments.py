"""Types of command-line arguments: from text to a value, or to an error that says what was expected."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from lumigrad._optional import require

Color = tuple[float, float, float]


def number(kind: type, low: float, high: float = math.inf) -> Callable[[str], Any]:
    """A number within limits."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number, got '{text}'") from None
        if not low <= value <= high:
            limits = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text}")
        return value

    return parse


positive = number(int, 1)


def color(text: str) -> Color:
    """A colour by name or as #rrggbb."""
    names = require("PIL.ImageColor", "a colour as an option")
    try:
        red, green, blue = names.getrgb(text)[:3]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a colour such as 'white' or '#405060', got '{text}'") from None
    return red / 255, green / 255, blue / 255


def color_or_none(text: str) -> Color | None:
    """A colour, or None for 'transparent'."""
    return None if text == "transparent" else color(text)


def distant_light(text: str) -> tuple[float, ...]:
    """x, y, z and strength of a distant light."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) not in (3, 4) or not all(math.isfinite(v) for v in values) or not any(values[:3]):
        raise argparse.ArgumentTypeError(f"expected a direction x,y,z and perhaps a strength, got '{text}'")
    return values if len(values) == 4 else (*values, 1.0)


def image_size(text: str) -> tuple[int, int]:
    """(height, width) from '512' or '640x480' (width x height)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdigit() and 1 <= int(part) <= 16384 for part in parts):
        raise argparse.ArgumentTypeError(f"expected pixels such as 512 or 640x480, got '{text}'")
    return int(parts[-1]), int(parts[0])
