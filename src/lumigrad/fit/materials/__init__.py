"""Materials and light from photographs of a known mesh."""

from __future__ import annotations

from lumigrad.fit.materials.choice import Choice, choose_normals
from lumigrad.fit.materials.drawing import Lit, LitDrawer, Tracing, draw, light_of
from lumigrad.fit.materials.job import MaterialsJob, MaterialsOptions
from lumigrad.fit.materials.loop import fit_materials
from lumigrad.fit.materials.maps import MaterialMaps, maps_of, start_parameters
from lumigrad.fit.materials.occlusion import bake_occlusion
from lumigrad.fit.materials.regularise import Weights, penalty, weights_of
from lumigrad.fit.materials.relit import RelitPhotos, load_relit, relit_metrics
from lumigrad.fit.materials.schedule import Schedule, Stage, stages_of
from lumigrad.fit.materials.state import MaterialsState
from lumigrad.fit.materials.truth import material_errors, material_image

__all__ = [
    "Choice",
    "Lit",
    "LitDrawer",
    "MaterialMaps",
    "MaterialsJob",
    "MaterialsOptions",
    "MaterialsState",
    "RelitPhotos",
    "Schedule",
    "Stage",
    "Tracing",
    "Weights",
    "bake_occlusion",
    "choose_normals",
    "draw",
    "fit_materials",
    "light_of",
    "load_relit",
    "maps_of",
    "material_errors",
    "material_image",
    "penalty",
    "relit_metrics",
    "stages_of",
    "start_parameters",
    "weights_of",
]
