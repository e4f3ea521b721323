"""Pairing of simultaneous images of several cameras by their names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lumigrad.io._photo_files import natural

Key = str | int


def paired(place: Path, images: Mapping[str, Sequence[Path]]) -> tuple[tuple[Path, ...], ...]:
    """Images [frame][camera], in the order of the frames.

    Images of one frame have the same name but for the suffix, or the same number of the frame: the one in a name that
    differs within the folder of a camera (the last one, of a camera with one image).

    Args:
        place: of the cameras' folders, for messages.
        images: of each camera; at least one.

    Raises:
        ValueError: names that do not say which images belong together, or a camera that lacks an image of another.
    """
    keyed = _by_name(images) or {camera: _by_number(place / camera, paths) for camera, paths in images.items()}
    first, *others = keyed
    for camera in others:
        for one, other in ((camera, first), (first, camera)):
            lacking = next((path for key, path in keyed[other].items() if key not in keyed[one]), None)
            if lacking is not None:
                raise ValueError(
                    f"{place}: camera {one} has no image of the frame {lacking.name} of camera {other}; expected "
                    "one of each frame from every camera, with the same name or the same number"
                )
    return tuple(tuple(keyed[camera][key] for camera in keyed) for key in keyed[first])


def _by_name(images: Mapping[str, Sequence[Path]]) -> dict[str, dict[Key, Path]] | None:
    """Pairing by names without suffixes; None unless these are distinct and the same for all cameras."""
    keyed: dict[str, dict[Key, Path]] = {
        camera: {path.stem: path for path in sorted(paths, key=natural)} for camera, paths in images.items()
    }
    first = next(iter(keyed.values()))
    same = all(found.keys() == first.keys() and len(found) == len(images[camera]) for camera, found in keyed.items())
    return keyed if same else None


def _by_number(folder: Path, paths: Sequence[Path]) -> dict[Key, Path]:
    """Pairing by the number in the names that differs from image to image."""
    split = [re.split(r"(\d+)", path.stem) for path in sorted(paths, key=natural)]
    ordered = sorted(paths, key=natural)
    # Odd parts are numbers.
    texts = {tuple(parts[::2]) for parts in split}
    changing = [place for place in range(1, len(split[0]), 2) if len({int(parts[place]) for parts in split}) > 1]
    if len(paths) == 1 and len(split[0]) > 1:
        changing = [len(split[0]) - 2]
    if len(texts) > 1 or len(changing) != 1:
        names = ", ".join(path.name for path in ordered[:2])
        raise ValueError(
            f"{folder}: expected images whose names are those of the other cameras, or differ in the number of the "
            f"frame alone, got {names}"
        )
    keyed: dict[Key, Path] = {}
    for parts, path in zip(split, ordered, strict=True):
        twin = keyed.setdefault(int(parts[changing[0]]), path)
        if twin is not path:
            raise ValueError(f"{folder}: expected one image of each frame, got {twin.name} and {path.name}")
    return keyed
