"""Ops of light transport."""

from lumigrad.ops.light._bsdf import bsdf, sample_bsdf
from lumigrad.ops.light._direct_light import direct_light
from lumigrad.ops.light._trace_paths import trace_paths

__all__ = ["bsdf", "direct_light", "sample_bsdf", "trace_paths"]
