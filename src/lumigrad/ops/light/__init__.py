"""Ops of light transport."""

from lumigrad.ops.light._bsdf import bsdf, sample_bsdf
from lumigrad.ops.light._trace_paths import trace_paths

__all__ = ["bsdf", "sample_bsdf", "trace_paths"]
