"""Mitsuba 3: its scenes, from dictionaries or XML, rendered by lumigrad's path tracer; parameters by Mitsuba's names.

Programs written for Mitsuba's Python interface keep their scenes; tensors and gradients are torch's. An independent
implementation of documented behaviour; it contains none of the original's code.

What is not offered is refused by its name. Beyond the original: no compilation, the same bits for any number of
threads, float tensors with `requires_grad` wherever a parameter is.
"""

from lumigrad.compat.mitsuba.loading import load_dict
from lumigrad.compat.mitsuba.objects import MitsubaWarning, Object, Scene
from lumigrad.compat.mitsuba.parameters import SceneParameters, traverse
from lumigrad.compat.mitsuba.rendering import render, to_camera, to_scene
from lumigrad.compat.mitsuba.transforms import Transform3f, Transform4f
from lumigrad.compat.mitsuba.xml import load_file, load_string

ScalarTransform4f = Transform4f
ScalarTransform3f = Transform3f

__all__ = [
    "MitsubaWarning",
    "Object",
    "ScalarTransform3f",
    "ScalarTransform4f",
    "Scene",
    "SceneParameters",
    "Transform3f",
    "Transform4f",
    "load_dict",
    "load_file",
    "load_string",
    "render",
    "to_camera",
    "to_scene",
    "traverse",
]
