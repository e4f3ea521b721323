"""From dictionaries to plugins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lumigrad.compat.mitsuba.finishing import finish
from lumigrad.compat.mitsuba.objects import SURROUNDING, Object, Scene, at, below
from lumigrad.compat.mitsuba.plugins import PLUGINS, REFUSED, REQUIRED, SAME, Plugin
from lumigrad.compat.mitsuba.spectra import Use, as_color
from lumigrad.compat.mitsuba.transforms import as_tensor

# Roles of plugins below others, by families; what is not here keeps the name that it was given.
ROLES = {"bsdf": "bsdf", "emitter": "emitter", "film": "film", "sampler": "sampler", "rfilter": "rfilter"}


def load_dict(dict: Mapping[str, Any], folder: str | Path | Sequence[str | Path] = ".") -> Object:
    """A scene, or a part of one, from nested dictionaries as in Mitsuba 3.

    Args:
        dict: with a "type"; numbers, words, vectors, `Transform4f`, plugins made before, and dictionaries of others. A
            dictionary of the type "ref" stands for what has its "id".
        folder: where relative names of files begin; of several, the first one that has the file.

    Returns:
        `Scene` for the type "scene", otherwise the `Object`.

    Raises:
        ValueError: unknown names and wrong values; the message says where.
        NotImplementedError: what Mitsuba has and this has not, by name.

    >>> from lumigrad.compat import mitsuba as mi
    >>> red = {"type": "rgb", "value": [1, 0, 0]}
    >>> scene = mi.load_dict(
    ...     {
    ...         "type": "scene",
    ...         "light": {"type": "constant"},
    ...         "ball": {"type": "sphere", "bsdf": {"type": "diffuse", "reflectance": red}},
    ...     }
    ... )
    >>> mi.traverse(scene)["ball.bsdf.reflectance.value"]
    tensor([1., 0., 0.])
    """
    folders = [folder] if isinstance(folder, (str, Path)) else folder
    return Loader(dict, [Path(one) for one in folders]).load(dict, "")


def first_of(folders: Sequence[Path], name: str, there: Callable[[Path], bool]) -> Path | None:
    """The path of a name in the first of some folders in which it is there."""
    return next((folder / name for folder in folders if there(folder / name)), None)


def places(folders: Sequence[Path], name: str) -> str:
    """Where it has been looked for, for messages."""
    return " or ".join(dict.fromkeys(str(folder / name) for folder in folders))


class Loader:
    """Makes each plugin once, however often it is named."""

    def __init__(self, properties: Mapping[str, Any], folders: Sequence[Path]) -> None:
        if not isinstance(properties, Mapping):
            raise TypeError(f"dict: expected a dictionary, got {type(properties).__name__}")
        self.folders = folders
        self.named = {name: found for name, found in _named(properties)}
        # With the properties themselves, as ids of what is gone are given to others.
        self.made: dict[int, tuple[Mapping[str, Any], Object]] = {}

    def load(self, properties: Mapping[str, Any], path: str) -> Object:
        if id(properties) in self.made:
            return self.made[id(properties)][1]
        given = properties
        properties = as_color(properties, "reflectance", path)
        kind = properties.get("type")
        plugin = _plugin(kind, path)
        made = Scene if plugin.family == "scene" else Object
        found = made(SAME.get(kind, kind), plugin.family, path)  # type: ignore[arg-type]
        left = {key: value for key, value in properties.items() if key not in ("type", "id")}
        self._add_parameters(found, plugin, left)
        self._add_children(found, plugin, left)
        if left:
            raise ValueError(f"{at(path)}{kind!r} has no {', '.join(map(repr, left))}; it takes {_takes(plugin)}")
        finish(found, self)
        if found.kind == "scene":
            _check_scene(found)
        self.made[id(given)] = given, found
        return found

    # ---- Values

    def _add_parameters(self, found: Object, plugin: Plugin, given: dict[str, Any]) -> None:
        """Takes what it knows from `given`."""
        for name, default in plugin.textures.items():
            value = given.pop(name, default)
            if value is not None:
                use: Use = "light" if found.family == "emitter" else "index" if name in ("eta", "k") else "reflectance"
                found.children[name] = self.texture(value, below(found.path, name), use)
        for name, default in {**plugin.numbers, **plugin.vectors}.items():
            value = given.pop(name, default)
            if value is REQUIRED:
                raise ValueError(f"{at(found.path)}{found.kind!r} needs {name!r}")
            if value is not None:
                found.values[name] = as_tensor(value, below(found.path, name))
                if name in plugin.numbers and found.values[name].numel() != 1:
                    raise ValueError(f"{below(found.path, name)}: expected a number, got {value!r}")
        for name, default in plugin.options.items():
            found.options[name] = given.pop(name, default)
            if found.options[name] is REQUIRED:
                raise ValueError(f"{at(found.path)}{found.kind!r} needs {name!r}")
            if default is not None and default is not REQUIRED:
                _check_option(found, name, default)

    def texture(self, value: Any, path: str, use: Use = "reflectance") -> Object:
        if isinstance(value, (Mapping, Object)):
            found = self._resolved(as_color(value, use, path) if isinstance(value, Mapping) else value, path)
            if found.family != "texture":
                raise ValueError(f"{path}: expected a colour or texture, got the {found.family} {found.kind!r}")
            return found
        color = as_tensor(value, path)
        if color.shape not in ((), (1,), (3,)):
            raise ValueError(f"{path}: expected one number or three, got {list(color.shape)}")
        return Object("rgb" if color.shape == (3,) else "uniform", "texture", path, {"value": color})

    # ---- Plugins below

    def _add_children(self, found: Object, plugin: Plugin, given: dict[str, Any]) -> None:
        for name in [key for key, value in given.items() if isinstance(value, (Mapping, Object))]:
            child = self._resolved(given.pop(name), below(found.path, name))
            if child.family not in plugin.below:
                raise ValueError(f"{below(found.path, name)}: {found.kind!r} takes no {child.family}")
            role = name if found.kind == "scene" else _role(found, child, name)
            if role in found.children:
                raise ValueError(f"{below(found.path, name)}: {found.kind!r} has a {child.family} already")
            found.children[role] = child

    def _resolved(self, value: Mapping[str, Any] | Object, path: str) -> Object:
        if isinstance(value, Object):
            return value
        if value.get("type") != "ref":
            return self.load(value, path)
        name = value.get("id")
        if name not in self.named:
            raise ValueError(f"{path}: there is nothing with the id {name!r}")
        target = self.named[name]
        return target if isinstance(target, Object) else self.load(target, str(name))

    def file(self, found: Object) -> Path:
        name = str(found.options["filename"])
        path = first_of(self.folders, name, Path.is_file)
        if path is None:
            raise FileNotFoundError(f"{at(found.path)}no such file: {places(self.folders, name)}")
        return path


def _named(properties: Mapping[str, Any], top: bool = True) -> Iterator[tuple[str, Any]]:
    """What references can mean: things of the top level by their names, and all by their ids."""
    for key, value in properties.items():
        if not isinstance(value, (Mapping, Object)):
            continue
        if top:
            yield key, value
        if isinstance(value, Mapping) and value.get("type") != "ref":
            if "id" in value:
                yield value["id"], value
            yield from _named(value, False)


def _plugin(kind: Any, path: str) -> Plugin:
    if not isinstance(kind, str):
        raise ValueError(f"{at(path)}expected a 'type', got {kind!r}")
    if kind in REFUSED:
        raise NotImplementedError(f"{at(path)}the {REFUSED[kind]} {kind!r} is not offered")
    if SAME.get(kind, kind) not in PLUGINS:
        raise ValueError(f"{at(path)}there is no plugin {kind!r}")
    return PLUGINS[SAME.get(kind, kind)]


def _check_option(found: Object, name: str, default: Any) -> None:
    """Options are of the kind of their default."""
    value = found.options[name]
    if isinstance(default, bool):
        right = isinstance(value, bool)
    elif isinstance(default, int):
        right = isinstance(value, int) and not isinstance(value, bool)
    elif isinstance(default, float):
        right = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        right = not isinstance(default, str) or isinstance(value, (str, float, int))
    if not right:
        wanted = {bool: "true or false", int: "an integer", float: "a number"}.get(type(default), "a word")
        raise ValueError(f"{below(found.path, name)}: expected {wanted}, got {value!r}")


def _role(found: Object, child: Object, name: str) -> str:
    if found.kind == "twosided":
        return f"brdf_{len(found.of_family('bsdf'))}"
    if found.kind == "mask":
        return "nested_bsdf"
    return ROLES.get(child.family, name)


def _takes(plugin: Plugin) -> str:
    words = [
        *plugin.textures,
        *plugin.numbers,
        *plugin.vectors,
        *plugin.options,
        *(f"a {name}" for name in plugin.below),
    ]
    return ", ".join(words) or "nothing"


def _check_scene(scene: Object) -> None:
    integrators = [name for name, child in scene.children.items() if child.family == "integrator"]
    if len(integrators) > 1:
        raise ValueError(f"{', '.join(integrators)}: expected one integrator at most")
    around = [name for name, child in scene.children.items() if child.kind in SURROUNDING]
    if len(around) > 1:
        raise ValueError(f"{', '.join(around)}: expected one emitter of the kinds {', '.join(SURROUNDING)} at most")
