"""How the number of Gaussians changes during a fit, under gsplat's names."""

from lumigrad.compat.gsplat.strategy.base import Strategy
from lumigrad.compat.gsplat.strategy.default import DefaultStrategy
from lumigrad.compat.gsplat.strategy.mcmc import MCMCStrategy

__all__ = ["DefaultStrategy", "MCMCStrategy", "Strategy"]
