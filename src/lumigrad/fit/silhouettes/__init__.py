"""A closed surface from the silhouettes of posed photographs or of any mesh, as signed distances and as a mesh."""

from lumigrad.fit.silhouettes.job import SilhouetteJob, SilhouetteOptions
from lumigrad.fit.silhouettes.results import load_grid, save_grid
from lumigrad.fit.silhouettes.solid import solid_of, write_solid

__all__ = ["SilhouetteJob", "SilhouetteOptions", "load_grid", "save_grid", "solid_of", "write_solid"]
