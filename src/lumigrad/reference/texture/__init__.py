"""Filtered lookups in textures."""

from lumigrad.reference.texture._build_mips import build_mips
from lumigrad.reference.texture._texture import texture
from lumigrad.reference.texture._texture_cube import texture_cube

__all__ = ["build_mips", "texture", "texture_cube"]
