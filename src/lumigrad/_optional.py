"""Packages needed by only some functions, which lumigrad installs as extras."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

# By import name: the package's own name, and the extra of lumigrad that installs it.
PACKAGES = {
    "PIL": ("Pillow", "files"),
    "mapbox_earcut": ("mapbox_earcut", "files"),
    "DracoPy": ("DracoPy", "draco"),
    "meshoptimizer": ("meshoptimizer", "meshopt"),
    "scipy": ("SciPy", "fit"),
    "tqdm": ("tqdm", "fit"),
    "matplotlib": ("Matplotlib", "plots"),
    "imageio": ("imageio", "video"),
    "imageio_ffmpeg": ("imageio-ffmpeg", "video"),
    "OpenImageIO": ("OpenImageIO", "files"),
    "zstandard": ("zstandard", "files"),
    "xatlas": ("xatlas", "scan"),
    "viser": ("viser", "view"),
    "plotly": ("Plotly", "figures"),
}


class MissingPackageError(ImportError):
    """A function needs a package that is not installed."""


def require(module: str, user: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: its full name, such as "scipy.sparse".
        user: the public name of the function that needs it, for the message.

    Raises:
        MissingPackageError: the package is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # the package exists, but lacks something itself
        name, extra = PACKAGES[package]
        raise MissingPackageError(f"{user} needs {name}: pip install 'lumigrad[{extra}]'") from error


def installed(package: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(package) is not None
