"""Templates: ways to deform a mesh, regularisers, and a loop that fits one to images, masks and landmarks."""

from __future__ import annotations

from lumigrad.fit.template.deform import barycentric_points, blend_shapes, mean_value_coordinates, skin
from lumigrad.fit.template.loop import Landmarks, TemplateFit, fit_template
from lumigrad.fit.template.regularise import (
    ArapEnergy,
    adjacent_faces,
    bending_loss,
    cotangent_weights,
    edge_length_loss,
    edge_lengths,
    mirror_vertices,
    symmetry_loss,
)

__all__ = [
    "ArapEnergy",
    "Landmarks",
    "TemplateFit",
    "adjacent_faces",
    "barycentric_points",
    "bending_loss",
    "blend_shapes",
    "cotangent_weights",
    "edge_length_loss",
    "edge_lengths",
    "fit_template",
    "mean_value_coordinates",
    "mirror_vertices",
    "skin",
    "symmetry_loss",
]
