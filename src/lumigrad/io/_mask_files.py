"""Finds the masks of photographs: images of the same names in folders of masks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr")
_MASK_SUFFIXES = (*IMAGE_SUFFIXES, ".npy")


def find_masks(photos: Sequence[Path], root: Path, places: Sequence[Path]) -> tuple[Path | None, ...]:
    """The mask of each photograph, in the first of some folders that has it, or None.

    The mask of `a.jpg` is called `a.png` or `a.jpg.png`, or has the suffix of another kind of image. Masks of
    photographs in sub-folders, as those of several cameras, lie in sub-folders of the same names; beside these they
    count where no two photographs could claim them.

    Args:
        photos: files, which may be anywhere.
        root: folder of the data set, to which sub-folders are relative.
        places: folders of masks.

    Warns:
        UserWarning: a mask that photographs of several folders could claim, and that none gets.
    """
    listings: dict[Path, dict[str, Path]] = {}
    masks = [_mask_of(photo, root, places, listings) for photo in photos]
    folders: dict[Path, set[Path]] = {}
    for photo, mask in zip(photos, masks):
        if mask is not None:
            folders.setdefault(mask, set()).add(photo.parent)
    unclear = {mask for mask, claimed in folders.items() if len(claimed) > 1}
    if unclear:
        first = min(unclear)
        one, other = sorted(folders[first])[:2]
        warnings.warn(
            f"{len(unclear)} masks are left out, such as {first}: photographs in {one} and in {other} have that name. "
            "Put masks into folders of the same names",
            stacklevel=3,
        )
    return tuple(None if mask in unclear else mask for mask in masks)


def _mask_of(photo: Path, root: Path, places: Sequence[Path], listings: dict[Path, dict[str, Path]]) -> Path | None:
    names = [(stem + suffix).lower() for stem in (photo.name, photo.stem) for suffix in _MASK_SUFFIXES]
    for place in places:
        for folder in _folders(photo, root):
            listing = listings.get(place / folder)
            if listing is None:
                listing = listings[place / folder] = files_of(place / folder)
            found = next((listing[name] for name in names if name in listing), None)
            if found is not None and found != photo:
                return found
    return None


def _folders(photo: Path, root: Path) -> Iterator[Path]:
    """The folder of a photograph, then without its first part, without the second, and so on."""
    try:
        parts = photo.parent.relative_to(root).parts
    except ValueError:  # elsewhere
        parts = photo.parent.parts[-2:]
    for first in range(len(parts) + 1):
        yield Path(*parts[first:])


def files_of(folder: Path) -> dict[str, Path]:
    """The files of a folder by their lower-case names; none if there is no such folder."""
    try:
        return {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_file()}
    except OSError:
        return {}
