"""Shapes that notebooks show as pictures."""

from __future__ import annotations

from importlib import import_module


class Displayed:
    """Base of shapes that show themselves."""

    def _repr_png_(self) -> bytes | None:
        """The picture that notebooks show: a PNG file, or None if there is nothing to see."""
        # Drawing is a layer above shapes, so it is imported only when a picture is wanted.
        picture: bytes | None = import_module("lumigrad.render.display").picture_of(self)
        return picture
