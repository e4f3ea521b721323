"""The version of the interface."""

__version__ = "0.5.3"
