"""Compression of Gaussians is not offered under gsplat's names; see `lumigrad.io.save_gaussians`."""

from lumigrad.compat.gsplat._missing import missing

PngCompression = missing("PngCompression")

__all__ = ["PngCompression"]
