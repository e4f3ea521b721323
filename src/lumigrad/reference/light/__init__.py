"""Definitions of the ops of light transport."""

from lumigrad.reference.light._bsdf import bsdf, sample_bsdf
from lumigrad.reference.light._direct_light import direct_light
from lumigrad.reference.light._path_edges import path_edges
from lumigrad.reference.light._trace_paths import trace_paths

__all__ = ["bsdf", "direct_light", "path_edges", "sample_bsdf", "trace_paths"]
