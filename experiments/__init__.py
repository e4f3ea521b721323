"""Repeats published experiments of differentiable rasterization: ``python -m experiments.cube --quick``.

Nothing here is part of the installed package. ``docs/experiments`` has a page for each, with the published results and
ours.
"""
