"""Spectra as linear RGB colours, as Mitsuba's variants for RGB take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lumigrad.compat.mitsuba.objects import below, note
from lumigrad.compat.mitsuba.transforms import as_tensor

# From 380 to 780 nm, every 10: the colour matching functions of the CIE's standard observer of 1931, and its standard
# illuminant D65. Source: CIE 015, "Colorimetry".
_FIRST, _STEP = 380, 10
_CIE = np.array([
    (0.001368, 3.9e-05, 0.00645, 49.98), (0.004243, 0.00012, 0.02005, 54.65),
    (0.01431, 0.000396, 0.06785, 82.75), (0.04351, 0.00121, 0.2074, 91.49),
    (0.13438, 0.004, 0.6456, 93.43), (0.2839, 0.0116, 1.3856, 86.68),
    (0.34828, 0.023, 1.7471, 104.9), (0.3362, 0.038, 1.7721, 117),
    (0.2908, 0.06, 1.6692, 117.8), (0.19536, 0.09098, 1.2876, 114.9),
    (0.09564, 0.13902, 0.81295, 115.9), (0.03201, 0.20802, 0.46518, 108.8),
    (0.0049, 0.323, 0.272, 109.4), (0.0093, 0.503, 0.1582, 107.8),
    (0.06327, 0.71, 0.07825, 104.8), (0.1655, 0.862, 0.04216, 107.7),
    (0.2904, 0.954, 0.0203, 104.4), (0.43345, 0.99495, 0.00875, 104),
    (0.5945, 0.995, 0.0039, 100), (0.7621, 0.952, 0.0021, 96.33),
    (0.9163, 0.87, 0.00165, 95.79), (1.0263, 0.757, 0.0011, 88.69),
    (1.0622, 0.631, 0.0008, 90.01), (1.0026, 0.503, 0.00034, 89.6),
    (0.85445, 0.381, 0.00019, 87.7), (0.6424, 0.265, 5e-05, 83.29),
    (0.4479, 0.175, 2e-05, 83.7), (0.2835, 0.107, 0, 80.03),
    (0.1649, 0.061, 0, 80.21), (0.0874, 0.032, 0, 82.28),
    (0.04677, 0.017, 0, 78.28), (0.0227, 0.00821, 0, 69.72),
    (0.011359, 0.004102, 0, 71.61), (0.0057903, 0.002091, 0, 74.35),
    (0.0028993, 0.001047, 0, 61.6), (0.00144, 0.00052, 0, 69.89),
    (0.00069008, 0.0002492, 0, 75.09), (0.0003323, 0.00012, 0, 63.59),
    (0.00016615, 6e-05, 0, 46.42), (8.3075e-05, 3e-05, 0, 66.81),
    (4.151e-05, 1.499e-05, 0, 63.38),
])  # fmt: skip
_SRGB = np.array([  # linear sRGB of XYZ (IEC 61966-2-1)
    [3.240479, -1.537150, -0.498535], [-0.969256, 1.875991, 0.041556], [0.055648, -0.204043, 1.057311],
])  # fmt: skip
_NANOMETRES = np.arange(_FIRST, _FIRST + _STEP * (len(_CIE) - 1) + 1.0)
_X, _Y, _Z, _D65 = (np.interp(_NANOMETRES, _NANOMETRES[::_STEP], column) for column in _CIE.T)
_FLAT = _SRGB @ np.array([_X.sum(), _Y.sum(), _Z.sum()]) / _Y.sum()  # light of the same power at all wavelengths

Use = Literal["light", "reflectance", "index"]


def as_color(properties: Mapping[str, Any], use: Use, path: str) -> Mapping[str, Any]:
    """A "uniform" or an "rgb" in place of a "spectrum" or "d65"; others as they are.

    Args:
        properties: "value" is one number for all wavelengths, or pairs of a wavelength in nanometres and a value,
            linear between them and 0 outside.
        use: light is as bright as its luminance says, and white where it is D65. What is reflected is seen in light of
            D65, and is 1 at most. An index of refraction is averaged likewise, and may be more.
        path: for messages.

    Raises:
        ValueError: wavelengths that do not ascend.
    """
    kind = properties.get("type")
    if kind == "d65":
        return {
            "type": "uniform",
            **{"value" if key == "scale" else key: properties[key] for key in properties if key != "type"},
        }
    if kind != "spectrum":
        return properties
    value = as_tensor(properties.get("value", 1.0), below(path, "value"))
    others = {key: other for key, other in properties.items() if key != "value"}
    if value.numel() == 1:
        if use != "light":
            return {**others, "type": "uniform", "value": value}
        return {**others, "type": "rgb", "value": value.reshape(()) * as_tensor(_FLAT, path).to(value)}
    pairs = value.detach().double().cpu().numpy()
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not bool((np.diff(pairs[:, 0]) > 0).all()):
        raise ValueError(f"{below(path, 'value')}: expected one number, or pairs of ascending wavelengths and values")
    return {**others, "type": "rgb", "value": _rgb(pairs, use, path).tolist()}


def _rgb(pairs: np.ndarray, use: Use, path: str) -> np.ndarray:
    values = np.interp(_NANOMETRES, pairs[:, 0], pairs[:, 1], left=0.0, right=0.0)
    light = np.ones_like(_Y) if use == "light" else _D65
    seen = _SRGB @ np.array([(values * light * matching).sum() for matching in (_X, _Y, _Z)]) / (light * _Y).sum()
    if use != "reflectance":
        return seen
    if bool((np.abs(seen - seen.clip(0, 1)) > 0.01).any()):
        note(f"{below(path, 'value')}: the colour {seen.round(3).tolist()} is brought to the range from 0 to 1")
    return seen.clip(0, 1)
