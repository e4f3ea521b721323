"""The version of the interface."""

__version__ = "1.6.0"
