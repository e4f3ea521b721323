"""Functions that PyTorch had not, or had slow."""

from lumigrad.compat.pytorch3d.common.workaround.symeig3x3 import symeig3x3

__all__ = ["symeig3x3"]
