"""Fields in files: the same pictures after loading, and errors for other files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_common import ring, write_transforms

from lumigrad.fit.fields import HashField, Schedule, Voxels, fit_field, load_field, save_field
from lumigrad.fit.photos import Photo, load_photos
from lumigrad.io import load_dataset


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    data = load_dataset(write_transforms(tmp_path_factory.mktemp("data"), ring(6, (18, 24))))
    return load_photos(data, list(range(len(data))))


@pytest.mark.parametrize("kind", ["voxels", "hash"])
def test_the_same_pictures_without_photographs(kind: str, photos: list[Photo], tmp_path: Path) -> None:
    model = Voxels(photos, boxes=2, background=0.25) if kind == "voxels" else HashField(photos, 2**9, 64, 0.25)
    schedule = Schedule(iterations=70, levels=((0.0, 8, 0), (0.9, 10, 1)), rays=60)
    state = fit_field(photos, model.begin(schedule), model, schedule)
    save_field(model, state, photos, tmp_path / "field.npz")
    field = load_field(tmp_path / "field.npz")
    ours, theirs = field.picture(photos[2].camera), model.picture(state, photos[2].camera)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(field.cameras.world_to_camera[2], photos[2].camera.world_to_camera[0])
    assert torch.equal(field.picture(field.cameras[2:3]).color, ours.color)


def test_files_that_are_none(photos: list[Photo], tmp_path: Path) -> None:
    model, path = Voxels(photos, boxes=2), tmp_path / "field.npz"
    save_field(model, model.begin(Schedule(iterations=1, levels=((0.0, 8, 0),))), photos, path)
    with np.load(path) as saved:
        values = {name: saved[name] for name in saved.files}
    for name, value in values.items():
        wrong = [np.array("text"), value[None] if value.ndim else np.array([1, 2])]
        if value.dtype.kind == "f":
            wrong.append(np.full_like(value, np.nan))
        for one in wrong:
            np.savez(path, **{**values, name: one})
            with pytest.raises(ValueError, match=r"field\.npz: not a field written by lumigrad: ."):
                assert not load_field(path), f"accepted: {name} of {one.shape} {one.dtype}"
        np.savez(path, **{key: kept for key, kept in values.items() if key != name})
        with pytest.raises(ValueError, match="not a field written by lumigrad"):
            load_field(path)
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match="not a field written by lumigrad"):
        load_field(path)
    with pytest.raises(FileNotFoundError):
        load_field(tmp_path / "nowhere.npz")
