"""Finds the files that data sets refer to, as written by other programs, on other systems, at other places and
resolutions."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

from lumigrad._optional import require
from lumigrad.io._mask_files import IMAGE_SUFFIXES, files_of, find_masks

# Folders of photographs; the first that has a file is used. Reduced copies come last.
IMAGE_FOLDERS = ("images", "input", "image", "rgb", "images_2", "images_4", "images_8")
_MASK_FOLDERS = ("masks", "mask")


class PhotoFolder:
    """The photographs and masks of a data set.

    Args:
        folder: of the data set.
        images: where to look for photographs instead of where the data set says: a path, or the name of a folder in
            `folder`; None for where the data set says.

    Raises:
        FileNotFoundError: `images` is no folder.
    """

    def __init__(self, folder: Path, images: str | Path | None = None) -> None:
        self.folder, self.images = folder, None
        self._listings: dict[Path, dict[str, Path]] = {}
        if images is not None:
            found = next((place for place in (folder / images, Path(images)) if place.is_dir()), None)
            if found is None:
                raise FileNotFoundError(f"images: no such folder: {folder / images}")
            self.images = found

    def photo(self, name: str) -> Path | None:
        """The file of a photograph that the data set calls `name`, or None.

        The name may have backslashes, an absolute path of another machine, another case, or no suffix. Where the file
        is not at its place, the same name is looked for in the usual folders.
        """
        if self.images is not None:
            return self._tail(self.images, name)
        for place in (self.folder, *(self.folder / sub for sub in IMAGE_FOLDERS)):
            found = self._file(place / _plain(name))
            if found is not None:
                return found
        for place in (self.folder, *(self.folder / sub for sub in IMAGE_FOLDERS)):
            found = self._tail(place, name)
            if found is not None:
                return found
        return None

    def file(self, name: str) -> Path | None:
        """Another file of the data set, by its exact place."""
        return self._file(self.folder / _plain(name))

    def masks(self, photos: Sequence[Path]) -> tuple[Path | None, ...]:
        """The mask of each photograph in the folder `masks` (or `mask`); empty where there are none at all."""
        masks = find_masks(photos, self.folder, [self.folder / name for name in _MASK_FOLDERS])
        return masks if any(mask is not None for mask in masks) else ()

    def listed(self) -> list[Path]:
        """All photographs of the first usual folder that has any, with numbers in names in numerical order."""
        places = [self.images] if self.images is not None else [self.folder / sub for sub in IMAGE_FOLDERS]
        for place in places:
            found = [path for path in self._listing(place).values() if path.suffix.lower() in IMAGE_SUFFIXES]
            if found:
                return sorted(found, key=natural)
        return []

    def _tail(self, place: Path, name: str) -> Path | None:
        """The file that matches the longest possible end of the name below a folder."""
        parts = [part for part in _plain(name).split("/") if part not in ("", ".", "..")]
        for first in range(len(parts)):
            found = self._file(place.joinpath(*parts[first:]))
            if found is not None:
                return found
        return None

    def _file(self, path: Path) -> Path | None:
        """The path, in any case, and with any suffix if it has none that exists."""
        names = self._listing(path.parent)
        exact = names.get(path.name.lower())
        if exact is not None:
            return path if path.is_file() else exact
        stems = (path.name,) if self.images is None else (path.name, path.stem)
        for stem in stems:
            for suffix in IMAGE_SUFFIXES:
                if (stem + suffix).lower() in names:
                    return names[(stem + suffix).lower()]
        return None

    def _listing(self, place: Path) -> dict[str, Path]:
        """The files in a folder by their lower-case names."""
        if place not in self._listings:
            self._listings[place] = files_of(place)
        return self._listings[place]


def _plain(name: str) -> str:
    """A path with slashes, without the drive of Windows."""
    return re.sub(r"^[A-Za-z]:/", "/", name.replace("\\", "/"))


def natural(path: Path) -> list[tuple[int, int | str]]:
    """A sort key by which 2.png comes before 10.png."""
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts]


def warn_missing(source: Path, names: Sequence[str], total: int) -> None:
    """Warn of photographs that a file names and that are missing.

    Raises:
        FileNotFoundError: all of them are.
    """
    if not names:
        return
    if len(names) == total:
        raise FileNotFoundError(f"{source} names the photograph {names[0]}, which is missing, as are all {total}")
    warnings.warn(
        f"{source}: {len(names)} of {total} photographs are missing and left out, such as {names[0]}", stacklevel=2
    )


def pixels(path: Path) -> tuple[int, int]:
    """(width, height) of an image file.

    Raises:
        ValueError: no image.
    """
    pillow = require("PIL.Image", "lumigrad.io.load_dataset")
    try:
        with pillow.open(path) as picture:
            return picture.size
    except (OSError, pillow.DecompressionBombError) as error:
        raise ValueError(f"cannot read {path} as an image: {error}") from error
