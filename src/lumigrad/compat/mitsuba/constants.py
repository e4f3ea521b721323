"""Optical constants by the names of materials."""

from __future__ import annotations

# Indices of refraction of visible light (589 nm), from tables of physics.
INDICES = {
    "vacuum": 1.0, "helium": 1.000036, "hydrogen": 1.000132, "air": 1.000277, "carbon dioxide": 1.00045,
    "water ice": 1.31, "water": 1.333, "acetone": 1.36, "ethanol": 1.361, "fused quartz": 1.458,
    "carbon tetrachloride": 1.461, "pyrex": 1.47, "glycerol": 1.4729, "acrylic glass": 1.49, "polypropylene": 1.49,
    "benzene": 1.501, "bk7": 1.5046, "silicone oil": 1.52045, "sodium chloride": 1.544, "amber": 1.55, "pet": 1.575,
    "bromine": 1.661, "diamond": 2.419,
}  # fmt: skip

# eta and k of red, green and blue light: spectra of Johnson and Christy 1972 (Au, Ag, Cu), Rakic 1998 (Al) and
# Palik 1985 (Cr), averaged with the weights of linear sRGB.
METALS = {
    "Au": ((0.143, 0.375, 1.44), (3.98, 2.39, 1.60)),
    "Ag": ((0.155, 0.117, 0.138), (4.83, 3.12, 2.15)),
    "Cu": ((0.201, 0.924, 1.10), (3.91, 2.45, 2.14)),
    "Al": ((1.66, 0.880, 0.521), (9.22, 6.27, 4.84)),
    "Cr": ((4.37, 2.92, 1.65), (5.21, 4.23, 3.75)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # reflects all
}
