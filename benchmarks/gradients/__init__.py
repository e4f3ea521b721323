"""How accurate gradients of visibility are: ``python -m benchmarks.gradients`` prints tables.

`judge` takes any function from clip-space positions to an image, and compares its gradient with the exact one.
"""

from benchmarks.gradients.judging import Judgement, UnsupportedSceneError, cases, judge

__all__ = ["Judgement", "UnsupportedSceneError", "cases", "judge"]
