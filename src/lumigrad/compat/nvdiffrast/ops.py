"""The functions under the name of nvdiffrast's module of them."""

from __future__ import annotations

from lumigrad.compat.nvdiffrast import *  # noqa: F403
from lumigrad.compat.nvdiffrast import __all__ as __all__
