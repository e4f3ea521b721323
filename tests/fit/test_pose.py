"""Poses of meshes in images: on renders whose pose is known, and the parts by hand."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lumigrad.fit import PoseEstimate, PoseWarning, fit_pose, fit_poses, track_pose
from lumigrad.fit.pose import job as pose_job
from lumigrad.fit.pose import search
from lumigrad.fit.pose.clusters import clustered
from lumigrad.fit.pose.photograph import Photograph, foreground
from lumigrad.fit.pose.refine import Comparison, moved
from lumigrad.fit.pose.report import overlay, pose_values
from lumigrad.fit.pose.search import distinct
from lumigrad.fit.pose.subject import Poses, Subject
from lumigrad.render import render_mesh
from lumigrad.scene import (
    Mesh,
    PerspectiveCamera,
    RadialTangentialDistortion,
    axis_angle_to_matrix,
    creature,
    icosphere,
    rotation_angle,
)

SIZE = (96, 96)


def view(azimuth: float = 35.0, elevation: float = 20.0, distance: float = 5.0) -> PerspectiveCamera:
    """A camera that looks past the object, so that it is not in the middle of the image."""
    return PerspectiveCamera.orbit(azimuth, elevation, distance, 40.0, SIZE, target=(0.3, -0.2, 0.0))


def picture(mesh: Mesh, camera: PerspectiveCamera, noise: float = 0.0) -> tuple[Tensor, Tensor]:
    """An image in front of grey, and its mask of zeros and ones."""
    shot = render_mesh(mesh, camera)
    image = shot.over(0.5)[0]
    image = image + noise * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    return image.clamp(0, 1), (shot.mask[0, ..., 0] > 0.5).float()


def degrees(found: PoseEstimate, camera: PerspectiveCamera) -> float:
    return math.degrees(rotation_angle(found.object_to_camera[:3, :3], camera.world_to_camera[:3, :3]))


def turned(matrix: Tensor, turn: float) -> Tensor:
    """Turned about an axis by some degrees, and further away."""
    axis = torch.nn.functional.normalize(torch.tensor([0.4, 1.0, -0.3]), dim=0)
    start = matrix.clone()
    start[:3, :3] = axis_angle_to_matrix(math.radians(turn) * axis) @ start[:3, :3]
    start[2, 3] *= 1.2
    return start


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_from_a_start_60_degrees_away(noise: float) -> None:
    mesh, camera = creature(3), view()
    image, mask = picture(mesh, camera, noise)
    found = fit_pose(mesh, image, camera, mask, start=turned(camera.world_to_camera, 60), views=100)
    assert degrees(found, camera) < (0.2 if noise == 0 else 0.5)
    assert (found.camera.position - camera.position).norm() < 0.03
    assert found.overlap > 0.97
    assert not found.doubts


def _swap(shown: tuple[Tensor, Tensor], camera: PerspectiveCamera) -> tuple[Tensor, PerspectiveCamera, Tensor]:
    return shown[0], camera, shown[1]


def test_without_start_mask_or_the_same_exposure() -> None:
    """The mask comes from the background's colour; a darker, warmer image has the same pose."""
    mesh, camera = creature(3), view(250.0, -10.0)
    shot = render_mesh(mesh, camera)
    image = shot.over((0.1, 0.3, 0.9))[0] * torch.tensor([0.7, 0.6, 0.5])
    assert degrees(fit_pose(mesh, image, camera, views=100), camera) < 0.5


def test_with_a_lens() -> None:
    mesh = creature(3)
    camera = replace(view(), distortion=RadialTangentialDistortion(k1=-0.3, k2=0.05))
    found = fit_pose(mesh, *_swap(picture(mesh, camera), camera), start=turned(camera.world_to_camera, 20), views=100)
    assert degrees(found, camera) < 0.3


def test_units_and_centres_do_not_matter() -> None:
    """The pose is found for a mesh a hundred times as large and away from its origin."""
    mesh, camera = creature(2), view()
    shift = torch.tensor([300.0, -50.0, 20.0])
    large = replace(mesh, positions=100 * mesh.positions + shift)
    image, mask = picture(mesh, camera)
    found = fit_pose(large, image, camera, mask, views=100)
    assert degrees(found, camera) < 0.5
    place = found.object_to_camera[:3, :3] @ shift + found.object_to_camera[:3, 3]
    torch.testing.assert_close(place, 100 * camera.world_to_camera[:3, 3], atol=3.0, rtol=0)


def test_a_ball_is_ambiguous() -> None:
    ball, camera = icosphere(3), view()
    image, mask = picture(ball, camera)
    with pytest.warns(PoseWarning, match="ambiguous: a pose"):
        found = fit_pose(ball, image, camera, mask, views=60)
    assert found.ambiguous
    assert found.overlap > 0.97
    # The place is sure, the rotation is not.
    assert (found.object_to_camera[:3, 3] - camera.world_to_camera[:3, 3]).norm() < 0.05


def test_what_hides_the_object_is_found() -> None:
    mesh, camera = creature(3), view()
    image, mask = picture(mesh, camera)
    columns = (mask > 0).any(0).nonzero()[:, 0]
    edge = int(columns[len(columns) // 4])
    mask[:, :edge] = 0
    share = 1 - float(mask.sum() / picture(mesh, camera)[1].sum())
    with pytest.warns(PoseWarning, match="occluded: "):
        found = fit_pose(mesh, image, camera, mask, start=turned(camera.world_to_camera, 15), views=100)
    assert found.occluded
    assert found.hidden == pytest.approx(share, abs=0.04)
    assert degrees(found, camera) < 1.5


def test_warnings_say_which_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings name the photograph or frame in which the object is hidden, the second one in both cases."""
    mesh, camera = creature(2), view()
    image, mask = picture(mesh, camera)
    sure = PoseEstimate(camera.world_to_camera, camera, 0.0, 1.0, 0.0, 0.0, None, math.inf)
    for function, which in ((fit_poses, "image"), (track_pose, "frame")):
        found = iter([sure, replace(sure, hidden=0.5)])
        monkeypatch.setattr(pose_job, "_estimate", lambda *arguments, found=found: next(found))
        monkeypatch.setattr(pose_job, "_refined", lambda *arguments: replace(sure, loss=1.0, uncovered=1.0))
        with pytest.warns(PoseWarning) as said:
            function(mesh, [image, image], camera, [mask, mask])
        assert [str(one.message) for one in said] == [f"{which} 1: occluded: 50% of the object cannot be seen"]


def test_another_mesh_does_not_fit() -> None:
    camera = view()
    image, mask = picture(creature(3), camera)
    bar = replace(icosphere(2), positions=icosphere(2).positions * torch.tensor([2.0, 0.2, 0.2]))
    with pytest.warns(PoseWarning):
        found = fit_pose(bar, image, camera, mask, views=60)
    assert found.overlap < 0.93


def test_several() -> None:
    mesh = creature(2)
    cameras = PerspectiveCamera.orbit(torch.tensor([20.0, 130.0]), 10.0, 5.0, 35.0, (64, 64))
    shots = render_mesh(mesh, cameras)
    found = fit_poses(mesh, shots.image, cameras, shots.mask, views=60)
    assert [degrees(one, cameras[n]) < 1 for n, one in enumerate(found)] == [True, True]


def test_a_track_that_is_lost_begins_anew() -> None:
    mesh = creature(2)
    cameras = PerspectiveCamera.orbit(
        torch.tensor([0.0, 6.0, 12.0, 160.0]), 10.0, 5.0, 35.0, (64, 64), target=(0.4, 0, 0)
    )
    shots = render_mesh(mesh, cameras)
    found = track_pose(mesh, shots.image, cameras, shots.mask, views=60)
    assert [degrees(one, cameras[n]) < 1 for n, one in enumerate(found)] == [True] * 4


# ---- The parts -----------------------------------------------------------------------------------------------------


def test_crops_have_their_own_intrinsics() -> None:
    camera = view()
    photograph = Photograph.of(*_swap(picture(creature(2), camera), camera))
    crop = photograph.crop((-20.0, 30.0, 70.0, 90.0), 30)  # 92 pixels, from (-21, 14)
    points = torch.tensor([[0.1, 0.2, -4.0], [-0.3, 0.0, -6.0]])
    place = photograph.camera.pixels(points)
    torch.testing.assert_close(crop.camera.pixels(points), (place - torch.tensor([-21.0, 14.0])) * (30 / 92))
    assert crop.image.shape == (30, 30, 4)
    assert not crop.valid[:, 0].any()  # beyond the photograph
    assert crop.valid[15, 15] == 1


def test_turned_cameras_see_the_same_rays() -> None:
    """A small square appears where the turned camera projects its direction."""
    camera = replace(view(), world_to_camera=torch.eye(4))
    image = torch.zeros(96, 96, 3)
    mask = torch.zeros(96, 96)
    mask[20:60, 30:70] = 1
    image[28:31, 60:63] = 1
    photograph = Photograph.of(image, camera, mask)
    eye = PerspectiveCamera.from_fov(45.0, (64, 64))
    images, rotations = photograph.turned(photograph.axis()[0], torch.tensor([0.0, 1.0, 2.5]), eye)
    direction = camera.rays(torch.tensor([[61.5, 29.5]])).directions
    for seen, rotation in zip(images, rotations):
        bright = seen[..., 0] / seen[..., 0].sum()
        steps = torch.arange(64) + 0.5
        place = torch.stack([(bright.sum(0) * steps).sum(), (bright.sum(1) * steps).sum()])
        torch.testing.assert_close(place, eye.pixels(direction @ rotation.T)[0], atol=0.3, rtol=0)


def test_steps_are_pixels() -> None:
    """Sideways by one moves the centre by a pixel; a turn by one moves points half a radius off by one, as far away."""
    camera = replace(view(), world_to_camera=torch.eye(4))
    mesh = icosphere(1)
    photograph = Photograph.of(torch.rand(*SIZE, 3), camera, torch.ones(SIZE))
    comparison = Comparison(Subject.of(mesh, None, None), photograph.crop(photograph.box(), 96))
    poses = Poses(torch.eye(3)[None], torch.tensor([[0.0, 0.0, -5.0]]))
    steps = torch.eye(6)[None]
    result = moved(poses, steps, comparison)
    seen = comparison.crop.camera
    before, after = seen.pixels(poses.translation), seen.pixels(result.translation)
    torch.testing.assert_close((after - before)[3:5], torch.tensor([[1.0, 0.0], [0.0, -1.0]]), atol=1e-4, rtol=0)
    half = torch.tensor([0.0, 0.0, 0.5])
    front = result.rotation @ half + result.translation
    apart = (seen.pixels(front) - seen.pixels(half + poses.translation)).norm(dim=-1)
    torch.testing.assert_close(apart[:2], torch.full((2,), 5 / 4.5), atol=0.03, rtol=0)


def test_blur_keeps_constants() -> None:
    camera = view()
    photograph = Photograph.of(*_swap(picture(creature(2), camera), camera))
    comparison = Comparison(Subject.of(creature(2), None, None), photograph.crop(photograph.box(), 32), blur=1.5)
    torch.testing.assert_close(comparison._blurred(torch.ones(1, 32, 32, 2)), torch.ones(1, 32, 32, 2))


def test_each_pose_has_its_own_hidden_part() -> None:
    """Losses of poses together are those of each alone; coverage far from the mask costs the same as when it counts."""
    mesh, camera = creature(2), view()
    image, mask = picture(mesh, camera)
    mask[:, : int((mask > 0).any(0).nonzero()[:, 0].float().mean())] = 0  # the left half
    subject = Subject.of(mesh, None, None)
    photograph = Photograph.of(image, camera, mask)
    poses = subject.from_matrix(torch.stack([camera.world_to_camera, turned(camera.world_to_camera, 20)]))
    comparison = Comparison(subject, photograph.crop((0.0, 0.0, 96.0, 96.0), 96))
    together = comparison.without_hidden(poses)
    found = together.losses(together.residuals(poses))
    for number in range(2):
        alone = comparison.without_hidden(poses.take([number]))
        torch.testing.assert_close(alone.losses(alone.residuals(poses.take([number])))[0], found[number])
    assert not torch.equal(together.counts[0], together.counts[1])
    # At the true pose all that is left is the part given up.
    excess = ((subject.images(poses, comparison.crop.camera)[0, ..., 3] > 0.5) & (mask < 0.5)).sum()
    most = 0.15**2 * (math.sqrt(1 + (0.4 / 0.15) ** 2) - 1) * float(excess) / float(mask.sum())
    assert 0.8 * most < float(found[0]) < 1.3 * most


def test_one_sided_differences() -> None:
    """One-sided differences agree with sums over pixels for each pair."""
    generator = torch.Generator().manual_seed(0)
    images, targets = (torch.rand(count, 5, 6, 4, generator=generator, dtype=torch.float64) for count in (3, 2))
    found = search._one_sided(images, targets, colors=True)
    for v, image in enumerate(images):
        for a, target in enumerate(targets):
            cover, mask = image[..., 3], target[..., 3]
            ours, theirs = image[..., :3], target[..., :3]
            square = (mask[..., None] * ours.square()).sum()
            gain = ((ours * theirs).sum() / square).clamp(1 / 3, 3)
            colors = (cover[..., None] * theirs.square()).sum() - 2 * gain * (ours * theirs).sum() + gain**2 * square
            expected = (mask * (1 - cover)).sum() + 0.3 * (cover * (1 - mask)).sum() + 4 * colors.clamp_min(0)
            torch.testing.assert_close(found[v, a], expected)


def test_moved_images_are_those_of_moved_poses() -> None:
    subject = Subject.of(creature(2), None, None)
    eye = torch.eye(3)[None]
    focal, middle = torch.tensor(60.0), torch.tensor(20.0)
    camera = PerspectiveCamera(torch.eye(4), focal, focal, middle, middle, (40, 40))
    poses, images = search._spread(subject, Poses(eye, torch.tensor([[0.0, 0.0, -12.0]])), camera)
    assert len(poses) == len(images) == 27
    again = subject.images(poses, camera)
    apart = (again[..., 3] - images[..., 3]).abs().sum((1, 2)) / again[..., 3].sum((1, 2))
    assert float(apart.max()) < 0.25  # a pose at the side is also seen a little from the side


def test_fewer_faces_look_the_same() -> None:
    """A fine ball, drawn together for images of 48 pixels; a mesh of few faces stays."""
    ball = icosphere(6)
    painted = Mesh(ball.positions, ball.faces, colors=0.5 + 0.5 * ball.positions)
    subject = Subject.of(painted, None, None)
    coarse = subject.coarse(48)
    assert len(coarse.mesh.faces) < len(ball.faces) / 2
    assert coarse is subject.coarse(48)
    camera = PerspectiveCamera.from_fov(30.0, (48, 48))
    poses = Poses(torch.eye(3)[None], torch.tensor([[0.0, 0.0, -4.5]]))
    torch.testing.assert_close(coarse.images(poses, camera), subject.images(poses, camera), atol=0.12, rtol=0)
    small = Subject.of(icosphere(2), None, None)
    assert small.coarse(48) is small


def test_vertices_of_a_cell_become_their_mean() -> None:
    positions = torch.tensor([[0.1, 0.1, 0.1], [0.3, 0.1, 0.1], [2.5, 0.5, 0.5], [0.5, 2.5, 0.5]])
    faces = torch.tensor([[0, 2, 3], [0, 1, 2], [3, 1, 2]])
    uvs, texture = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.9]]), torch.rand(2, 2, 3)
    mesh = clustered(Mesh(positions, faces, uvs, faces, texture), 1.0)
    places = mesh.positions[mesh.faces]
    assert mesh.faces.shape == (1, 3)  # two have become the same, and one has vanished
    expected = torch.tensor([[0.2, 0.1, 0.1], [2.5, 0.5, 0.5], [0.5, 2.5, 0.5]])
    order = [int((places[0] - place).norm(dim=1).argmin()) for place in expected]
    torch.testing.assert_close(places[0, order], expected)
    colors = torch.stack([texture[0].mean(0), texture[1, 0], texture[1, 1]])
    torch.testing.assert_close(mesh.colors[mesh.faces[0]][order], colors)


def test_distinct() -> None:
    angles = torch.tensor([0.0, 0.1, 0.5, 0.55, 1.2])
    rotations = axis_angle_to_matrix(torch.stack([angles, 0 * angles, 0 * angles], -1))
    assert distinct(rotations, 0.3, 5) == [0, 2, 4]
    assert distinct(rotations, 0.3, 2) == [0, 2]


def test_foreground() -> None:
    image = torch.full((40, 40, 3), 0.3)
    image[10:20, 15:30] = torch.tensor([0.9, 0.3, 0.3])
    mask = foreground(image)
    assert mask[12:18, 17:28].all()
    assert mask[:8].sum() == 0
    with pytest.raises(ValueError, match="mask: expected one, since the image's border is not of one colour"):
        foreground(torch.rand(40, 40, 3, generator=torch.Generator().manual_seed(0)))


def test_values_of_both_conventions() -> None:
    camera = view()
    found = PoseEstimate(camera.world_to_camera, camera, 0.0, 1.0, 0.0, 0.0, None, math.inf)
    values = pose_values(found)
    point = torch.tensor([0.1, 0.2, 0.3, 1.0])
    x, y, z, _ = (torch.tensor(values["object_to_camera_opencv"]) @ point).tolist()
    assert z > 0
    pixel = [values["fx"] * x / z + values["cx"], values["fy"] * y / z + values["cy"]]
    assert pixel == pytest.approx(camera.pixels(point[None, :3])[0].tolist(), abs=1e-3)


def test_overlay_marks_the_outline() -> None:
    mesh, camera = creature(2), view()
    shown = overlay(mesh, torch.zeros(*SIZE, 3), camera)
    line = (shown[..., 0] > 0.9) & (shown[..., 1] < 0.3)
    mask = render_mesh(mesh, camera).mask[0, ..., 0]
    assert line.sum() > 50
    assert float(mask[line].mean()) < 0.1


def test_wrong_arguments() -> None:
    mesh, camera = creature(2), view()
    image, mask = picture(mesh, camera)
    for arguments, error, message in (
        ((mesh, image[..., :2], camera, mask), ValueError, r"image: expected shape \[H, W, 3 or 4\]"),
        ((mesh, (255 * image).byte(), camera, mask), TypeError, "image: expected floating-point values"),
        ((mesh, image[:50], camera, mask), ValueError, "image: expected the camera's size"),
        ((mesh, image, camera, mask.numpy()), TypeError, r"mask: expected a torch\.Tensor, got ndarray"),
        ((mesh, image, camera, mask[:50]), ValueError, "mask: expected shape"),
        ((mesh, image, camera, 0 * mask), ValueError, "mask: expected at least 16 pixels"),
        ((mesh, image * math.nan, camera, mask), ValueError, "image: holds values that are not finite"),
        ((mesh, image, camera, mask * math.nan), ValueError, "mask: holds values that are not finite"),
        ((mesh, image, camera, mask, torch.eye(3)), ValueError, "start: expected object to camera"),
        ((mesh, image, camera, mask, None, 75.0, 3), ValueError, "views: expected"),
        ((mesh.positions, image, camera, mask), TypeError, "mesh: expected a Mesh"),
        ((mesh, image, mask, mask), TypeError, "camera: expected a PerspectiveCamera"),
        (
            (replace(mesh, positions=mesh.positions[None]), image, camera, mask),
            ValueError,
            "mesh: expected a single mesh",
        ),
    ):
        with pytest.raises(error, match=message):
            fit_pose(*arguments)  # type: ignore[arg-type]


def test_as_many_masks_and_cameras_as_photographs() -> None:
    mesh = creature(2)
    camera = PerspectiveCamera.orbit(torch.tensor([20.0, 26.0]), 10.0, 5.0, fov_y=35.0, size=(32, 32))
    shots = render_mesh(mesh, camera)
    with pytest.raises(ValueError, match="masks: expected one for each image, got 1"):
        track_pose(mesh, shots.image, camera, shots.mask[:1], start=camera[0].world_to_camera)
    with pytest.raises(ValueError, match="camera: expected one for each of 1 images, got 2"):
        track_pose(mesh, shots.image[:1], camera, start=camera[0].world_to_camera)


def test_no_warning_without_doubts() -> None:
    mesh, camera = creature(3), view()
    with warnings.catch_warnings():
        warnings.simplefilter("error", PoseWarning)
        track_pose(mesh, [picture(mesh, camera)[0]], camera, [picture(mesh, camera)[1]], start=camera.world_to_camera)
