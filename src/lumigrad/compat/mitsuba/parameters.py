"""The parameters of a scene by Mitsuba's names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.mitsuba.objects import Object, walk
from lumigrad.compat.mitsuba.shapes import renew_normals
from lumigrad.compat.mitsuba.transforms import as_tensor


def traverse(node: Object) -> SceneParameters:
    """All parameters below a scene or a part of one, such as "ball.bsdf.reflectance.value"."""
    found = {}
    for name, one in walk(node):
        for key in one.values:
            found[f"{name}.{key}" if name else key] = (one, key)
    return SceneParameters(found)


class SceneParameters(MutableMapping[str, Tensor]):
    """Tensors by their names. What is assigned is used from `update()` on, and gradients reach it.

    >>> from lumigrad.compat import mitsuba as mi
    >>> params = mi.traverse(mi.load_dict({"type": "diffuse", "reflectance": 0.25}))
    >>> params
    SceneParameters[
      reflectance.value  []
    ]
    >>> params["reflectance.value"] = 0.75
    >>> params.update()
    >>> params["reflectance.value"].item()
    0.75
    """

    def __init__(self, places: Mapping[str, tuple[Object, str]]) -> None:
        self._places = dict(places)
        self._new: dict[str, Tensor] = {}

    def __getitem__(self, key: str) -> Tensor:
        found, name = self._place(key)
        return self._new.get(key, found.values[name])

    def __setitem__(self, key: str, value: Any) -> None:
        found, name = self._place(key)
        old, new = found.values[name], as_tensor(value, key)
        if not old.is_floating_point():
            new = torch.as_tensor(value).long()
        self._new[key] = _shaped(key, name, new, old)

    def __delitem__(self, key: str) -> None:
        self._place(key)
        del self._places[key]
        self._new.pop(key, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        width = max((len(key) for key in self), default=0)
        lines = [f"  {key:{width}}  {list(self[key].shape)}" for key in self]
        return "\n".join(["SceneParameters[", *lines, "]"])

    def keep(self, keys: str | Sequence[str]) -> None:
        """Forget the others: names, or a regular expression that they match."""
        if isinstance(keys, str):
            chosen = {key for key in self if re.fullmatch(keys, key)}
        else:
            chosen = set(keys)
            for key in keys:
                self._place(key)
        self._places = {key: place for key, place in self._places.items() if key in chosen}
        self._new = {key: value for key, value in self._new.items() if key in chosen}

    def update(self, values: Mapping[str, Any] | None = None) -> None:  # type: ignore[override]
        """Put what was assigned, and `values`, into the scene. Normals of vertices that moved are computed anew."""
        for key, value in (values or {}).items():
            self[key] = value
        changed = {}
        for key, value in self._new.items():
            found, name = self._places[key]
            found.values[name] = value
            changed[id(found), name] = found
        for (number, name), found in changed.items():
            moved = name in ("vertex_positions", "faces") and (number, "vertex_normals") not in changed
            if moved and "vertex_normals" in found.values:
                renew_normals(found)
        self._new.clear()

    def _place(self, key: str) -> tuple[Object, str]:
        if key not in self._places:
            raise KeyError(f"there is no parameter {key!r}; there are {', '.join(self._places)}")
        return self._places[key]


# Arrays that may get another length: those of meshes, and images.
_ANY_LENGTH = ("vertex_positions", "vertex_normals", "vertex_texcoords", "faces", "data")


def _shaped(key: str, name: str, value: Tensor, old: Tensor) -> Tensor:
    """A value as the parameter has it: numbers may be colours, arrays of meshes may come as rows."""
    if name in _ANY_LENGTH:
        if name != "data":
            return value.reshape(-1)
        if value.ndim == 3 and value.shape[-1] in (1, 3):
            return value
    elif name == "value" and value.shape in ((), (1,), (3,)):
        return value.reshape(()) if value.shape == (1,) else value
    elif value.shape == old.shape:
        return value
    elif old.ndim == 0 and value.numel() == 1:
        return value.reshape(())
    raise ValueError(f"{key}: expected {list(old.shape)}, got {list(value.shape)}")
