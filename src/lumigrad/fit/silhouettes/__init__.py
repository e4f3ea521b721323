"""A closed surface from the silhouettes of posed photographs, as a grid of signed distances and as a mesh."""

from lumigrad.fit.silhouettes.job import SilhouetteJob, SilhouetteOptions
from lumigrad.fit.silhouettes.results import load_grid, save_grid

__all__ = ["SilhouetteJob", "SilhouetteOptions", "load_grid", "save_grid"]
