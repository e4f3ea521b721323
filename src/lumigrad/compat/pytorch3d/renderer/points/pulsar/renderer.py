"""Pulsar's renderer; see :mod:`lumigrad.compat.pulsar`."""

from lumigrad.compat.pulsar import Renderer

__all__ = ["Renderer"]
