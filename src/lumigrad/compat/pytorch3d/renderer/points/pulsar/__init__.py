"""Pulsar under PyTorch3D's module path; see :mod:`lumigrad.compat.pulsar`."""

from lumigrad.compat.pulsar import Renderer

__all__ = ["Renderer"]
