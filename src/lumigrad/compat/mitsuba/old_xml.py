"""Scene files of Mitsuba 0.x and 2 in the words of Mitsuba 3.

Source: the documentation of Mitsuba 0.6, and that of Mitsuba 3 on what has changed.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import torch

from lumigrad.compat.mitsuba.objects import note
from lumigrad.scene.color import srgb_decode

Element = ElementTree.Element
_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLUGINS = {"ldrfilm": "hdrfilm", "sobol": "ldsampler", "halton": "ldsampler", "hammersley": "ldsampler"}
# What plugins of a family had and have no more, and why it is left out.
_DROPPED = {
    "film": (
        ("banner", "attach_log", "gamma", "exposure", "tonemap_method", "key", "burn", "label", "high_quality_edges"),
        "images are linear",
    ),
    "integrator": (("strict_normals",), "normals of vertices may face away from the surface"),
    "sampler": (("dimension", "scramble"), "samples are independent"),
}
_SCALES = ("uscale", "vscale", "uoffset", "voffset")


def upgrade(root: Element) -> None:
    """Rename, in place, what has another name now. What has no counterpart stays, and is refused by its name later.

    Films lose what concerns files of images, as what is rendered is linear.
    """
    for element in root.iter():
        if element.tag == "lookAt":
            element.tag = "lookat"
        if element.tag == "srgb":
            element.tag, element.attrib["value"] = "rgb", _linear(element.get("value", ""))
        name = element.get("name", "")
        if _CAPITAL.search(name):
            element.attrib["name"] = _CAPITAL.sub("_", name).lower()
        if name == "filterType" and element.get("value") in ("ewa", "trilinear"):
            element.attrib["value"] = "bilinear"
        kind = element.get("type", "")
        element.attrib.update({"type": _PLUGINS[kind]} if kind in _PLUGINS else {})
    for element in root.iter():
        if element.tag in _DROPPED:
            _drop(element, *_DROPPED[element.tag])
        if element.tag == "texture":
            _add_transform(element)


def _drop(element: Element, names: tuple[str, ...], why: str) -> None:
    for child in [child for child in element if child.get("name") in names]:
        element.remove(child)
        if child.get("value") != "false" and child.get("name") != "banner":
            note(f"<{element.tag}>: {child.get('name')} is left out: {why}")


def _add_transform(texture: Element) -> None:
    """Scales and offsets of texture coordinates as `to_uv`."""
    given = {child.get("name"): child for child in texture if child.get("name") in _SCALES}
    if not given:
        return
    numbers = {name: child.get("value", "") for name, child in given.items()}
    for child in given.values():
        texture.remove(child)
    transform = ElementTree.SubElement(texture, "transform", name="to_uv")
    ElementTree.SubElement(transform, "scale", x=numbers.get("uscale", "1"), y=numbers.get("vscale", "1"))
    ElementTree.SubElement(transform, "translate", x=numbers.get("uoffset", "0"), y=numbers.get("voffset", "0"))


def _linear(value: str) -> str:
    """Linear numbers of an sRGB colour: #rrggbb, or numbers."""
    if value.startswith("#"):
        code = int(value[1:7], 16)
        encoded = [(code >> shift & 255) / 255 for shift in (16, 8, 0)]
    else:
        encoded = [float(part) for part in re.split(r"[\s,]+", value.strip())]
    return " ".join(map(repr, srgb_decode(torch.tensor(encoded, dtype=torch.float64)).tolist()))
