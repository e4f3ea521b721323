"""Facial performance capture: shapes of a mesh over time from several synchronised cameras.

Source: Laine et al. 2020, "Modular Primitives for High-Performance Differentiable Rendering", section 5.
"""

from __future__ import annotations

from lumigrad.fit.capture._head import expressions, head
from lumigrad.fit.capture._high_pass import high_pass
from lumigrad.fit.capture.job import CaptureJob, CaptureOptions
from lumigrad.fit.capture.loop import capture
from lumigrad.fit.capture.model import CaptureModel
from lumigrad.fit.capture.rig import CaptureRig, load_rig
from lumigrad.fit.capture.schedule import CaptureSchedule
from lumigrad.fit.capture.smoothness import UniformLaplacian
from lumigrad.fit.capture.state import CaptureState
from lumigrad.fit.capture.synthetic import RigOptions, write_rig
from lumigrad.fit.capture.truth import load_truth, seen_vertices, shape_errors

__all__ = [
    "CaptureJob",
    "CaptureModel",
    "CaptureOptions",
    "CaptureRig",
    "CaptureSchedule",
    "CaptureState",
    "RigOptions",
    "UniformLaplacian",
    "capture",
    "expressions",
    "head",
    "high_pass",
    "load_rig",
    "load_truth",
    "seen_vertices",
    "shape_errors",
    "write_rig",
]
