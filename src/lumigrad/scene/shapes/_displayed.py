"""Shapes that notebooks show as pictures."""

from __future__ import annotations

from importlib import import_module


class Displayed:
    """Base of shapes that show themselves."""

    def _repr_png_(self) -> bytes | None:
        """What notebooks show of it: a PNG file, or None where there is nothing to see."""
        # Drawing lies above shapes. It is looked for when somebody wants to see one.
        picture: bytes | None = import_module("lumigrad.render.display").picture_of(self)
        return picture
