"""Images that a material library names, with the options before the name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lumigrad.io._named_files import find, is_lfs_pointer
from lumigrad.io._problems import Notes
from lumigrad.io.geometry.colors import encoded
from lumigrad.io.image import LINEAR, load_image
from lumigrad.io.obj.library import Entry, Statement

# The number of numbers that may follow each option; options marked in `_WORDS` are followed by words.
_NUMBERS = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2, "-bm": 1, "-boost": 1, "-texres": 1}
_WORDS = ("-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type", "-colorspace")
_WITHOUT_EFFECT = {"-blendu", "-blendv", "-cc", "-boost", "-texres", "-type", "-colorspace"}


@dataclass
class Map:
    """An image and the options that it is given with.

    Attributes:
        image: [H, W, C], display-encoded, after the option -mm.
        path: of the file.
        scale, offset: (u, v) of the texture coordinates, v upwards.
        clamp: whether it does not repeat.
        bump: the factor of -bm.
        channel: of -imfchan: "r", "g", "b", "m" (matte: alpha), "l" (luminance), "z", or "".
    """

    image: Tensor
    path: Path
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False
    bump: float = 1.0
    channel: str = ""


class Maps:
    """The images of a file's libraries; each file is read once."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self._images: dict[Path, Tensor | None] = {}

    def get(self, entry: Entry, *keys: str) -> Map | None:
        """The image of the first of these keywords; None, with a note, where it cannot be read."""
        statement = entry.get(*keys)
        if statement is None or not statement.text:
            return None
        options, name = split_options(statement)
        where, key = f"line {statement.line}", next(key for key in keys if entry.statements.get(key) is statement)
        path = find(name, entry.path.parent)
        if path is None:
            self.notes.add(f"{key} {name}: there is no such file", where, entry.path)
            return None
        image = self._read(path, key, where, entry)
        if image is None:
            return None
        for option in options.keys() - _WITHOUT_EFFECT - {"-s", "-o", "-mm", "-bm", "-clamp", "-imfchan"}:
            self.notes.add(f"{key}: the option {option} is not supported", where, entry.path)
        base, gain = _numbers(options.get("-mm", []), (0.0, 1.0))
        if (base, gain) != (0.0, 1.0):
            image = torch.cat([image[..., :3] * gain + base, image[..., 3:]], -1).clamp(0, 1)
        return Map(
            image,
            path,
            _numbers(options.get("-s", []), (1.0, 1.0)),
            _numbers(options.get("-o", []), (0.0, 0.0)),
            options.get("-clamp", ["off"])[0] == "on",
            _numbers(options.get("-bm", []), (1.0, 0.0))[0],
            options.get("-imfchan", [""])[0],
        )

    def _read(self, path: Path, key: str, where: str, entry: Entry) -> Tensor | None:
        if path not in self._images:
            try:
                if is_lfs_pointer(path):
                    raise ValueError(f"{path} is a Git LFS pointer, not the file itself")
                self._images[path] = _displayed(path)
            except (OSError, ValueError) as error:
                self._images[path] = None
                self.notes.add(f"{key}: {error}", where, entry.path)
        return self._images[path]


def _displayed(path: Path) -> Tensor:
    """A file's image as materials hold textures: display-encoded, in [0, 1]."""
    image = load_image(path, orient=False)
    if path.suffix.lower() not in LINEAR:
        return image
    return torch.cat([encoded(image[..., :3].clamp(0, 1)), image[..., 3:]], -1)


def split_options(statement: Statement) -> tuple[dict[str, list[str]], str]:
    """The options before the name of a file, and the name, which may have blanks."""
    words = statement.words
    options: dict[str, list[str]] = {}
    position = 0
    while position < len(words) - 1 and (words[position] in _NUMBERS or words[position] in _WORDS):
        option = words[position]
        position += 1
        begin = position
        if option in _WORDS:
            position += 1
        else:
            while position < len(words) - 1 and position - begin < _NUMBERS[option] and _is_number(words[position]):
                position += 1
        options[option] = words[begin:position]
    if not position:
        return options, statement.text
    return options, " ".join(words[position:])


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _numbers(words: list[str], default: tuple[float, float]) -> tuple[float, float]:
    """The first two numbers; of one alone, the other is its default."""
    values = [float(word) for word in words[:2] if _is_number(word)]
    return (*values, *default[len(values) :])  # type: ignore[return-value]
