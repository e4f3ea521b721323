"""What scenes are made of: plugins with their parameters, options, and the plugins below them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lumigrad.scene.shapes.mesh import Mesh


class MitsubaWarning(UserWarning):
    """Something of a scene that changes no expected value, but is not done as it says."""


def note(message: str) -> None:
    warnings.warn(message, MitsubaWarning, stacklevel=2)


def below(path: str, name: str) -> str:
    """The path of something below another."""
    return f"{path}.{name}" if path else name


def at(path: str) -> str:
    """What messages begin with."""
    return f"{path}: " if path else ""


@dataclass(eq=False)
class Object:
    """One plugin of a scene.

    Attributes:
        kind: its type, such as "diffuse".
        family: what it is: "shape", "bsdf", "emitter", "texture", "sensor", "film", "sampler", "rfilter", "integrator",
            "medium", "phase", "volume".
        path: where it was given, for messages.
        values: its parameters, which `traverse` shows.
        options: what else was said.
        children: the plugins below it, by their role.
        mesh: of shapes, what of their triangles is no parameter.
    """

    kind: str
    family: str
    path: str
    values: dict[str, Tensor] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    children: dict[str, Object] = field(default_factory=dict)
    mesh: Mesh | None = None

    def __repr__(self) -> str:
        return f"{self.kind}[{', '.join([*self.values, *self.children])}]"

    def of_family(self, family: str) -> list[Object]:
        return [child for child in self.children.values() if child.family == family]


@dataclass(eq=False, repr=False)
class Scene(Object):
    """The whole scene: `load_dict`, `load_file` and `load_string` make it."""

    def sensors(self) -> list[Object]:
        return self.of_family("sensor")

    def shapes(self) -> list[Object]:
        return self.of_family("shape")

    def emitters(self) -> list[Object]:
        """Lights by themselves, and those of shapes."""
        below = [shape.children["emitter"] for shape in self.shapes() if "emitter" in shape.children]
        return [*self.of_family("emitter"), *below]

    def environment(self) -> Object | None:
        """The emitter that surrounds the scene."""
        return next((light for light in self.of_family("emitter") if light.kind in SURROUNDING), None)

    def integrator(self) -> Object | None:
        return next(iter(self.of_family("integrator")), None)


SURROUNDING = ("constant", "envmap")


# Things that stand at the top level by themselves are named before the shapes that are made of them.
_ORDER = (
    "sensor",
    "film",
    "sampler",
    "rfilter",
    "texture",
    "bsdf",
    "phase",
    "volume",
    "medium",
    "shape",
    "emitter",
    "integrator",
)


def walk(root: Object) -> Iterator[tuple[str, Object]]:
    """An object and all below it, each once, with their names."""
    seen: set[int] = set()

    def visit(found: Object, name: str) -> Iterator[tuple[str, Object]]:
        if id(found) in seen:
            return
        seen.add(id(found))
        yield name, found
        children = list(found.children.items())
        if found.family == "scene":
            children.sort(key=lambda item: _ORDER.index(item[1].family))
        for role, child in children:
            yield from visit(child, f"{name}.{role}" if name else role)

    yield from visit(root, "")
