"""Gaussians and spheres from posed photographs: parameters, start, strategies, the loop, and the whole job."""

from __future__ import annotations

from lumigrad.fit.photos import Photo, focus, load_photos
from lumigrad.fit.splats.job import SplatJob, SplatOptions
from lumigrad.fit.splats.loop import Schedule, SplatState, evaluate, fit_splats, loss_of
from lumigrad.fit.splats.models import DivisibleModel, Footprints, Gaussians, Model, Spheres
from lumigrad.fit.splats.start import agreeing_points, first_points, spacing
from lumigrad.fit.splats.strategies import MCMC, CloneSplitPrune, Strategy

__all__ = [
    "MCMC",
    "CloneSplitPrune",
    "DivisibleModel",
    "Footprints",
    "Gaussians",
    "Model",
    "Photo",
    "Schedule",
    "Spheres",
    "SplatJob",
    "SplatOptions",
    "SplatState",
    "Strategy",
    "agreeing_points",
    "evaluate",
    "first_points",
    "fit_splats",
    "focus",
    "load_photos",
    "loss_of",
    "spacing",
]
