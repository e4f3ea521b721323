"""Published experiments of differentiable rasterization, repeated: ``python -m experiments.cube --quick``.

Nothing here is part of the installed package. ``docs/experiments`` has a page for each, with what was published and
what came out.
"""
