"""The old place of `datatypes`."""

from lumigrad.compat.pytorch3d.common.datatypes import Device, get_device, make_device

__all__ = ["Device", "get_device", "make_device"]
