"""Cameras that are fitted: corrections, the gauge, and poses that were disturbed and come back."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from reconstruct_common import photographs, subject
from torch import Tensor

from lumigrad.fit import CameraRefinement, fibonacci_cameras
from lumigrad.fit.cameras import corrected
from lumigrad.fit.reconstruct import PhotoSet, ReconstructState, Schedule, Stage, refine, texture_stages
from lumigrad.scene import Mesh, PerspectiveCamera, axis_angle_to_matrix, rotation_angle

POINTS = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))


def disturbed(camera: PerspectiveCamera, degrees: float, shift: float, seed: int = 0) -> PerspectiveCamera:
    """Cameras turned by an angle about random axes, and moved by a length in random directions."""
    generator = torch.Generator().manual_seed(seed)
    axes, ways = torch.nn.functional.normalize(torch.randn(2, camera.shape[0], 3, generator=generator), dim=-1)
    return corrected(camera, torch.cat([math.radians(degrees) * axes, shift * ways], 1))


def aligned_errors(camera: PerspectiveCamera, truth: PerspectiveCamera) -> tuple[float, float]:
    """Mean angle in degrees and mean distance of poses, after the similarity that brings the cameras closest."""
    ours, theirs = camera.position.double(), truth.position.double()
    a, b = ours - ours.mean(0), theirs - theirs.mean(0)
    u, sizes, v = torch.linalg.svd(b.T @ a)
    sign = torch.ones(3, dtype=a.dtype)
    sign[2] = torch.linalg.det(u @ v).sign()
    turn = u @ (sign[:, None] * v)
    scale = (sizes * sign).sum() / a.square().sum()
    distance = (scale * a @ turn.T - b).norm(dim=-1).mean()
    rotation = camera.world_to_camera[:, :3, :3].double() @ turn.T
    angle = rotation_angle(rotation, truth.world_to_camera[:, :3, :3].double())
    return math.degrees(float(angle.mean())), float(distance)


def test_world_moves_alike_are_taken_out() -> None:
    """A similarity transform of all cameras together, which changes no image, is removed from the corrections."""
    camera = fibonacci_cameras(5, (16, 16))
    refinement = CameraRefinement(camera)
    turn = axis_angle_to_matrix(1e-3 * torch.tensor([0.3, -0.5, 0.8]))
    shift, scale = 1e-3 * torch.tensor([1.0, 2.0, -1.0]), 1.001
    # World points x become scale turn x + shift; cameras follow.
    centre = scale * camera.position @ turn.T + shift
    values = torch.cat([torch.zeros(5, 3), centre - camera.position], 1)
    for n in range(5):
        relative = camera.world_to_camera[n, :3, :3] @ turn.T @ camera.world_to_camera[n, :3, :3].T
        values[n, :3] = torch.stack([relative[2, 1], relative[0, 2], relative[1, 0]])
    moved = corrected(camera, values)
    torch.testing.assert_close(
        moved.pixels(scale * POINTS @ turn.T + shift), camera.pixels(POINTS), rtol=1e-3, atol=1e-2
    )
    refinement.values = values
    refinement._fix_gauge()
    assert refinement.values.abs().max() < 0.01 * values.abs().max()


def test_corrections_have_gradients() -> None:
    camera = fibonacci_cameras(3, (16, 16))
    camera = replace(camera, **{name: getattr(camera, name).double() for name in ("world_to_camera", "fx", "fy")})
    values = 0.1 * torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def pixels(values: Tensor, focal: Tensor) -> Tensor:
        return corrected(camera, values, 1.5, focal).pixels(POINTS[:4].double())

    assert torch.autograd.gradcheck(pixels, (values.requires_grad_(), torch.zeros(1).double().requires_grad_()))


@pytest.mark.parametrize("focal", [False, True])
def test_known_points_bring_cameras_back(focal: bool) -> None:
    """From points seen where the true cameras see them: poses come back, and a focal length that was 3 % too long."""
    truth = fibonacci_cameras(8, (64, 64))
    target = truth.pixels(POINTS)
    start = disturbed(truth, 0.8, 0.02)
    if focal:
        start = replace(start, fx=1.03 * start.fx, fy=1.03 * start.fy)
    refinement, points = CameraRefinement(start, focal), POINTS.clone().requires_grad_()
    descent = torch.optim.Adam([points], lr=2e-3)
    for step in range(300):
        picks = torch.arange(4) + 4 * (step % 2)
        loss = (refinement.camera(picks).pixels(points) - target[picks]).abs().mean()
        descent.zero_grad()
        loss.backward()
        descent.step()
        refinement.step(picks, 1e-3 * 0.05 ** (step / 300))
    with torch.no_grad():
        found = refinement.camera()
    angle, distance = aligned_errors(found, truth)
    before = aligned_errors(start, truth)
    assert angle < 0.2 * before[0]
    assert distance < 0.4 * before[1]
    if focal:
        assert abs(float(found.fx[0] / truth.fx[0]) - 1) < 0.01


def test_goes_on_from_a_file() -> None:
    """Stopped and gone on, steps are those of one that ran through; states of other cameras are refused."""
    camera = fibonacci_cameras(4, (16, 16))
    target = camera.pixels(POINTS) + 1

    def steps(refinement: CameraRefinement, first: int, last: int) -> None:
        for step in range(first, last):
            picks = torch.tensor([step % 4, (step + 1) % 4])
            (refinement.camera(picks).pixels(POINTS) - target[picks]).square().mean().backward()
            refinement.step(picks, 1e-3)

    through, begun = CameraRefinement(camera, focal=True), CameraRefinement(camera, focal=True)
    steps(through, 0, 6)
    steps(begun, 0, 3)
    resumed = CameraRefinement(camera, focal=True)
    resumed.load(begun.to_dict())
    steps(resumed, 3, 6)
    assert torch.equal(through.values, resumed.values)
    with pytest.raises(ValueError, match="corrections of 4 cameras"):
        CameraRefinement(camera).load(begun.to_dict())


def test_no_cameras() -> None:
    camera = fibonacci_cameras(4, (16, 16))
    with pytest.raises(ValueError, match="camera: expected a batch"):
        CameraRefinement(camera[0])
    with pytest.raises(ValueError, match="picks: expected cameras that `camera` has returned"):
        CameraRefinement(camera).step([0], 1e-3)


def test_surface_and_cameras_are_fitted_together() -> None:
    """Photographs of a creature with disturbed cameras: poses come nearer to the true ones."""
    truth = fibonacci_cameras(10, (64, 64))
    images = photographs(subject(), truth)
    alpha = images[..., 3:]
    photos = PhotoSet(images[..., :3] * alpha, alpha, torch.ones_like(alpha, dtype=torch.bool), truth)
    start = disturbed(truth, 0.7, 0.02)
    stages = (
        Stage(0.0, 2, rate=0.002, color_rate=0.03),
        Stage(0.4, 1, rate=0.001, color_rate=0.03, textured=True),
    )
    state = ReconstructState.begin(Mesh(subject().positions, subject().faces), 10)
    schedule = Schedule(stages, 140, texture_size=128, cameras="poses", exposure=False)
    state = refine(photos.with_camera(start), state, schedule)
    found = CameraRefinement(start)
    found.load(state.cameras)
    with torch.no_grad():
        angle, distance = aligned_errors(found.camera(), truth)
    before = aligned_errors(start, truth)
    assert angle < 0.5 * before[0]
    assert distance < 0.7 * before[1]
    # What was taken out of the corrections is what all cameras have in common.
    assert found.values[:, 3:].mean(0).norm() < 1e-5


def test_a_mesh_that_stays_says_where_all_cameras_are() -> None:
    """With a fixed surface, a shift common to all cameras is an error like any other, and is corrected."""
    truth = fibonacci_cameras(6, (48, 48))
    images = photographs(subject(), truth)
    alpha = images[..., 3:]
    photos = PhotoSet(images[..., :3] * alpha, alpha, torch.ones_like(alpha, dtype=torch.bool), truth)
    matrices = truth.world_to_camera.clone()
    matrices[:, :3, 3] += matrices[:, :3, :3] @ torch.tensor([0.04, 0.0, 0.0], dtype=matrices.dtype)
    start = replace(truth, world_to_camera=matrices)
    state = ReconstructState.begin(Mesh(subject().positions, subject().faces), 6)
    schedule = Schedule(texture_stages(), 60, texture_size=64, cameras="poses", exposure=False)
    state = refine(photos.with_camera(start), state, schedule)
    found = CameraRefinement(start, gauge=False)
    found.load(state.cameras)
    with torch.no_grad():
        left = (found.camera().position - truth.position).mean(0).norm()
    assert left < 0.03  # of 0.04; it would stay as it is where the mesh might move, too
