"""Previews of running fits: fixed states, in the space of the photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from capture_common import small_rig
from dataset_common import ring, write_transforms
from jobs_common import KINDS, prepared
from reconstruct_common import ball, write_photos
from torch import Tensor

from lumigrad.fit import Job, MeshJob, MeshOptions
from lumigrad.fit.capture import CaptureJob, CaptureOptions, load_rig
from lumigrad.fit.preview import Preview
from lumigrad.fit.reconstruct import ReconstructOptions, ReconstructState, SceneJob
from lumigrad.io import PosedPhotos, load_dataset
from lumigrad.scene import creature, icosphere


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> PosedPhotos:
    """Photographs of a ball, with an alpha channel."""
    return load_dataset(write_photos(tmp_path_factory.mktemp("shots"), ball(), count=5, size=(32, 32)))


def _first(preview: Preview) -> Tensor:
    """The preview from the camera of the first photograph."""
    image = preview.picture(preview.photos[0][0])
    assert image.shape == preview.photos[0][1].shape
    assert image.isfinite().all()
    return image


def _check_that_it_stays(job: Job) -> None:  # type: ignore[type-arg]
    state = job.begin()
    preview = job.preview(state)
    before = _first(preview)
    state = job.fit(state, lambda _: True)
    assert torch.equal(_first(preview), before)
    assert not torch.equal(_first(job.preview(state)), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_preview_stays_as_it_is(kind: str, shots: PosedPhotos) -> None:
    _check_that_it_stays(prepared(kind, shots))


@pytest.mark.parametrize("kind", ["texture", "object", "silhouettes", "materials"])
def test_the_ball_is_where_photographs_show_it(kind: str, shots: PosedPhotos) -> None:
    job = prepared(kind, shots)
    state = job.fit(job.begin(), lambda _: True)
    preview = job.preview(state)
    assert float(preview.centre.norm()) < 0.1
    for camera, image in preview.photos:
        ours, theirs = preview.picture(camera).amax(-1) > 0.05, image.amax(-1) > 0.05
        assert float((ours & theirs).sum() / (ours | theirs).sum()) > 0.85
    assert float(preview.up @ preview.photos[0][0].world_to_camera[1, :3]) > 0.8


def test_a_scene_is_a_field_and_then_a_mesh(tmp_path: Path) -> None:
    data = load_dataset(write_transforms(tmp_path / "data", ring(5, (24, 32))))
    job = SceneJob.prepare(data, ReconstructOptions(iterations=4, detail=0.2))
    state = job.begin()
    field = job.preview(state)
    assert float(_first(field).std()) < 0.2  # nothing has been seen yet
    state.surface = ReconstructState.begin(icosphere(2, 0.3), len(job.photos))
    mesh = job.preview(state)
    image, radius = _first(mesh), mesh.radius
    assert radius == 1.0
    middle = image[image.shape[0] // 2, image.shape[1] // 2]
    torch.testing.assert_close(middle, torch.full((3,), 0.5), atol=1e-3, rtol=0)  # grey as it is at first
    torch.testing.assert_close(image[0, 0], job.background(), atol=1e-5, rtol=0)


def test_mesh_job() -> None:
    options = MeshOptions(size=32, views=3, test_views=2, texture_size=64, effort=0.02, detail=0.3)
    _check_that_it_stays(MeshJob.prepare(creature(level=2, texture_height=32), options))


def test_capture_job(tmp_path: Path) -> None:
    rig = load_rig(small_rig(tmp_path))
    _check_that_it_stays(
        CaptureJob.of_rig(rig, CaptureOptions(iterations=2, batch=1, widths=(2, 2, 2), texture_size=16))
    )
