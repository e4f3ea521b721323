"""From scene files to the dictionaries that `load_dict` takes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lumigrad.compat.mitsuba.loading import first_of, load_dict, places
from lumigrad.compat.mitsuba.objects import Object
from lumigrad.compat.mitsuba.old_xml import upgrade
from lumigrad.compat.mitsuba.transforms import Transform4f

Element = ElementTree.Element
# Elements that stand for plugins.
PLUGIN_TAGS = ("scene", "shape", "bsdf", "emitter", "sensor", "film", "sampler", "rfilter", "integrator", "texture",
               "medium", "phase", "volume", "spectrum")  # fmt: skip


def load_file(path: str | Path, **parameters: Any) -> Object:
    """A scene from an XML file; `parameters` take the place of `$names` in it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError, NotImplementedError: as `load_dict`; the message names the element.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such scene: {path}")
    return _load(path.read_bytes(), path, parameters)


def load_string(string: str, **parameters: Any) -> Object:
    """A scene from XML; names of files are relative to the working directory.

    >>> from lumigrad.compat import mitsuba as mi
    >>> text = '<scene version="3.0.0"><shape type="sphere" id="ball"><float name="radius" value="$r"/></shape></scene>'
    >>> mi.traverse(mi.load_string(text, r=2))["ball.to_world"].diagonal().tolist()
    [2.0, 2.0, 2.0, 1.0]
    """
    return _load(string.encode(), None, parameters)


def _load(text: bytes, path: Path | None, parameters: dict[str, Any]) -> Object:
    reader = _Reader(path, {name: str(value) for name, value in parameters.items()})
    return load_dict(reader.plugin(reader.parse(text)), reader.folders)


class _Reader:
    """Reads a file, and those that it includes.

    Attributes:
        folders: where names of files are looked up, the first of them first.
        open: the files that are being read, each included by the one before.
        given: values of parameters.
    """

    def __init__(self, path: Path | None, given: dict[str, str]) -> None:
        self.folders = [Path(".") if path is None else path.parent]
        self.open = [] if path is None else [path]
        self.given = given

    def parse(self, text: bytes) -> Element:
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(f"this is no XML: {error}") from error
        version = root.get("version")
        if version is None or not version.partition(".")[0].isdigit():
            raise ValueError(f"<{root.tag}>: expected a version, such as 3.0.0, got {version or 'none'}")
        if int(version.partition(".")[0]) < 3:
            upgrade(root)
        return root

    def plugin(self, element: Element) -> dict[str, Any]:
        """A plugin's properties, with the plugins below it."""
        kind = "scene" if element.tag == "scene" else self.word(element, "type")
        found: dict[str, Any] = {"type": kind}
        if "id" in element.attrib:
            found["id"] = self.word(element, "id")
        self._read(element, found)
        return found

    def _read(self, element: Element, found: dict[str, Any]) -> None:
        for child in element:
            if child.tag == "default":
                self.given.setdefault(self.word(child, "name"), self.word(child, "value"))
            elif child.tag == "path":
                self._add_folder(child)
            elif child.tag == "include":
                self._include(child, found)
            else:
                name, value = self._property(child)
                name = name or self._free_name(child, found)
                if name in found:
                    raise ValueError(f"<{child.tag}>: there are two of the name {name!r}")
                found[name] = value

    def _add_folder(self, element: Element) -> None:
        """One more place for names of files, before the others; itself looked up in these."""
        self.folders.insert(0, self._found(element, "value", Path.is_dir))

    def _include(self, element: Element, found: dict[str, Any]) -> None:
        path = self._found(element, "filename", Path.is_file)
        if any(path.samefile(other) for other in self.open):
            chain = " -> ".join(str(other) for other in (*self.open, path))
            raise ValueError(f"<include>: a file includes itself: {chain}")
        self.open.append(path)
        self._read(self.parse(path.read_bytes()), found)
        self.open.pop()

    def _free_name(self, element: Element, found: dict[str, Any]) -> str:
        """The id at the top level, or else the element's name and a number."""
        if element.tag != "ref" and "id" in element.attrib:
            return self.word(element, "id")
        return next(name for k in range(len(found) + 1) if (name := f"{element.tag}_{k}") not in found)

    def _property(self, element: Element) -> tuple[str | None, Any]:
        name = self.word(element, "name") if "name" in element.attrib else None
        if element.tag == "ref":
            return name, {"type": "ref", "id": self.word(element, "id")}
        if element.tag == "transform":
            return name, self._transform(element)
        if element.tag == "rgb":
            return name, {"type": "rgb", "value": self._numbers(element, "value", (1, 3))}
        if element.tag == "spectrum" and "type" not in element.attrib:
            return name, self._spectrum(element)
        if element.tag in PLUGIN_TAGS:
            return name, self.plugin(element)
        if element.tag in _VALUES:
            text = self.word(element, "value") if element.tag not in ("point", "vector") else ""
            try:
                return name, self._vector(element, 0.0) if not text else _VALUES[element.tag](text)
            except (ValueError, KeyError) as error:
                raise ValueError(f'<{element.tag} name="{name}">: got {text!r}') from error
        raise ValueError(f"<{element.tag}>: there is no such element")

    def word(self, element: Element, attribute: str) -> str:
        """An attribute, with what `$names` stand for."""
        if attribute not in element.attrib:
            raise ValueError(f"<{element.tag}>: expected the attribute {attribute!r}")

        def value(match: re.Match[str]) -> str:
            if match[1] not in self.given:
                raise ValueError(f"<{element.tag}>: the parameter {match[0]} has no value")
            return self.given[match[1]]

        return re.sub(r"\$(\w+)", value, element.attrib[attribute])

    # ---- Numbers

    def _numbers(self, element: Element, attribute: str, counts: tuple[int, ...]) -> list[float]:
        text = self.word(element, attribute)
        try:
            numbers = [float(part) for part in re.split(r"[\s,]+", text.strip())]
        except ValueError as error:
            raise ValueError(f"<{element.tag}>: expected numbers, got {text!r}") from error
        if len(numbers) not in counts:
            raise ValueError(f"<{element.tag}>: expected {' or '.join(map(str, counts))} numbers, got {text!r}")
        return numbers

    def _spectrum(self, element: Element) -> dict[str, Any]:
        """One number, wavelengths with values (here, or as rows of a file), or red, green and blue in old files."""
        if "filename" in element.attrib:
            text = re.sub(r"#.*", "", self._found(element, "filename", Path.is_file).read_text())
        else:
            text = self.word(element, "value").replace(":", " ")
            if ":" not in element.get("value", "") and len(re.split(r"[\s,]+", text.strip())) == 3:
                return {"type": "rgb", "value": self._numbers(element, "value", (3,))}
        try:
            numbers = [float(part) for part in re.split(r"[\s,]+", text.strip())]
        except ValueError as error:
            raise ValueError(f"<spectrum>: expected numbers, got {text[:60]!r}") from error
        if len(numbers) == 1:
            return {"type": "spectrum", "value": numbers[0]}
        return {"type": "spectrum", "value": list(zip(numbers[::2], numbers[1::2], strict=True))}

    def _found(self, element: Element, attribute: str, there: Callable[[Path], bool]) -> Path:
        """What an attribute names, looked up in the folders."""
        word = self.word(element, attribute)
        path = first_of(self.folders, word, there)
        if path is None:
            kind = "folder" if there is Path.is_dir else "file"
            raise FileNotFoundError(f"<{element.tag}>: no such {kind}: {places(self.folders, word)}")
        return path

    def _vector(self, element: Element, missing: float) -> list[float]:
        """x, y and z, or one attribute with one or three numbers."""
        if "value" in element.attrib:
            numbers = self._numbers(element, "value", (1, 3))
            return numbers * 3 if len(numbers) == 1 else numbers
        return [self._numbers(element, axis, (1,))[0] if axis in element.attrib else missing for axis in "xyz"]

    def _transform(self, element: Element) -> Transform4f:
        """Steps in the order in which they act."""
        found = Transform4f()
        for step in element:
            found = self._step(step) @ found
        return found

    def _step(self, step: Element) -> Transform4f:
        if step.tag == "translate":
            return Transform4f().translate(self._vector(step, 0.0))
        if step.tag == "scale":
            return Transform4f().scale(self._vector(step, 1.0))
        if step.tag == "rotate":
            return Transform4f().rotate(self._vector(step, 0.0), self._numbers(step, "angle", (1,))[0])
        if step.tag == "lookat":
            up = self._numbers(step, "up", (3,)) if "up" in step.attrib else [0.0, 1.0, 0.0]
            return Transform4f().look_at(*(self._numbers(step, name, (3,)) for name in ("origin", "target")), up)
        if step.tag == "matrix":
            rows = self._numbers(step, "value", (9, 16))
            side = 3 if len(rows) == 9 else 4
            matrix = [rows[side * i : side * i + side] for i in range(side)]
            if side == 3:
                matrix = [[*row, 0.0] for row in matrix] + [[0.0, 0.0, 0.0, 1.0]]
            return Transform4f(matrix)
        raise ValueError(f"<{step.tag}>: there is no such step of a transform")


_VALUES: dict[str, Callable[[str], Any]] = {
    "float": float,
    "integer": int,
    "boolean": lambda text: {"true": True, "false": False}[text],
    "string": str,
    "point": str,
    "vector": str,
}
