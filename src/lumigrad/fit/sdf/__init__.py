"""Closed surfaces from images and masks, as grids of signed distances."""

from lumigrad.fit.sdf.hull import visual_hull
from lumigrad.fit.sdf.loop import fit_sdf
from lumigrad.fit.sdf.pieces import largest_piece
from lumigrad.fit.sdf.stages import SDFStage, default_sdf_stages

__all__ = ["SDFStage", "default_sdf_stages", "fit_sdf", "largest_piece", "visual_hull"]
