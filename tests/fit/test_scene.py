"""Open scenes from photographs: fusing exact depths of a known room, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct import (
    Contracted,
    PhotoSet,
    fuse_depths,
    fused_surface,
    mesh_depths,
    seen_faces,
    surface_errors,
    sweep_depths,
)
from lumigrad.fit.reconstruct.overlap import check_overlap
from lumigrad.fit.reconstruct.topology import is_closed
from lumigrad.ops.surface import rasterize
from lumigrad.scene import Mesh, PerspectiveCamera, icosphere, look_at
from lumigrad.types.grids import voxel_centers


def cube(half: float) -> Mesh:
    """The walls of a room, seen from inside."""
    corners = torch.cartesian_prod(*[torch.tensor([-half, half])] * 3)
    quads = torch.tensor([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
    return Mesh(corners, torch.cat([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]]))


def room() -> Mesh:
    """A ball of radius 0.5 in a cube with sides of 4."""
    walls, ball = cube(2.0), icosphere(4, radius=0.5)
    faces = torch.cat([walls.faces, ball.faces + len(walls.positions)])
    return Mesh(torch.cat([walls.positions, ball.positions]), faces)


def around(count: int = 14, size: int = 48) -> PerspectiveCamera:
    """Cameras at a distance of 1.5 that look at the ball from all sides."""
    heights = torch.linspace(-0.9, 0.9, count)
    angles = 2.399963 * torch.arange(count)
    flat = (1 - heights.square()).sqrt()
    eyes = 1.5 * torch.stack([flat * angles.cos(), heights, flat * angles.sin()], -1)
    view = look_at(eyes, torch.zeros_like(eyes), torch.tensor([0.0, 1.0, 0.0]).expand_as(eyes))
    return PerspectiveCamera(view, size, size, size / 2, size / 2, (size, size), near=0.02, far=200.0)


def depths_of(mesh: Mesh, camera: PerspectiveCamera) -> Tensor:
    """Exact depths, 0 where nothing is."""
    frags = rasterize(camera.project(mesh.positions), mesh.faces, camera.size, derivatives=False)
    depth = torch.stack([camera[n : n + 1].linear_depth(frags.depth[n]) for n in range(camera.shape[0])])
    return torch.where(frags.tri >= 0, depth, 0)


def photos_of(camera: PerspectiveCamera) -> list[Photo]:
    height, width = camera.size
    image, covered = torch.full((1, height, width, 3), 0.5), torch.ones(1, height, width, 1)
    return [Photo(image, covered, camera[n : n + 1]) for n in range(camera.shape[0])]


def test_fused_room() -> None:
    """The ball and the walls are where they were, the surface is closed, and faces look to the cameras."""
    camera = around()
    mesh = fused_surface(fuse_depths(depths_of(room(), camera), camera, 96))
    assert is_closed(mesh.faces)
    seen = mesh.submesh(seen_faces(mesh, camera, rings=0))
    middles = seen.positions[seen.faces.long()].mean(1)
    towards = torch.where((middles.norm(dim=1) < 1)[:, None], middles, -middles)
    facing = (seen.face_normals() * towards).sum(-1) > 0
    assert facing.float().mean() > 0.97
    ball = middles.norm(dim=1) < 1
    assert (middles[ball].norm(dim=1) - 0.5).abs().mean() < 0.015
    assert (middles[~ball].abs().amax(1) - 2).abs().median() < 0.06  # voxels are 0.17 wide there
    # What a camera sees agrees with what it saw.
    found = depths_of(mesh, camera)
    assert (found - depths_of(room(), camera)).abs().median() < 0.03


def test_nothing_near() -> None:
    """Without surfaces, everything is free up to the horizon; unknown space is not solid."""
    camera = around(4, 16)
    for depth in (torch.inf, 0.0):
        mesh = fused_surface(fuse_depths(torch.full((4, 16, 16), depth), camera, 32))
        assert is_closed(mesh.faces)
        assert Contracted().inward(mesh.positions).norm(dim=1).min() > 1.8  # voxels are 0.12 wide


def test_depths_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"depths: expected \[4, 16, 16\]"):
        fuse_depths(torch.zeros(4, 16, 8), around(4, 16))
    with pytest.raises(ValueError, match="resolution: expected a multiple of 4"):
        fuse_depths(torch.zeros(4, 16, 16), around(4, 16), resolution=30)
    with pytest.raises(ValueError, match=r"weights: expected \[4, 16, 16\], got \[4, 16\]"):
        fuse_depths(torch.zeros(4, 16, 16), around(4, 16), 32, torch.ones(4, 16))
    with pytest.raises(ValueError, match="reach: expected voxels from 1 on"):
        fuse_depths(torch.zeros(4, 16, 16), around(4, 16), 32, reach=0.5)
    photos = PhotoSet.of(photos_of(around(4, 16)))
    with pytest.raises(ValueError, match=r"depths: expected \[4, 16, 16\], got \[4, 16, 8\]"):
        sweep_depths(torch.zeros(4, 16, 8), photos, 0.1)
    with pytest.raises(ValueError, match="an odd number of 5 or more steps, got 6"):
        sweep_depths(torch.zeros(4, 16, 16), photos, 0.1, steps=6)


def test_weights_of_depths() -> None:
    """Photographs whose depths weigh next to nothing count as if they were not there, near what others see."""
    camera = around()
    depths = depths_of(room(), camera)
    wrong, weights = depths.clone(), torch.ones_like(depths)
    wrong[::3] *= 0.9
    weights[::3] = 1e-7
    good = torch.arange(14) % 3 > 0
    without = fuse_depths(depths[good], camera[good], 32).values
    inside = voxel_centers(torch.tensor([[-2.0] * 3, [2.0] * 3]), (32,) * 3).norm(dim=-1) < 1
    near = inside & (without.abs() < 0.9)
    errors = [(fuse_depths(wrong, camera, 32, given).values - without)[near].abs() for given in (None, weights)]
    assert errors[0].mean() > 0.05
    assert errors[1].mean() < 1e-3


def painted_room(camera: PerspectiveCamera, gains: Tensor) -> PhotoSet:
    """Photographs of the room in coloured waves that are a function of the place, of unequal exposure."""
    depths = depths_of(room(), camera)
    origins, rays = camera.rays()
    along = (rays * -camera.world_to_camera[:, None, None, 2, :3]).sum(-1)
    points = origins + rays * (depths / along)[..., None]
    images = (0.5 + 0.3 * torch.sin(9 * points + torch.arange(3.0))) * gains[:, None, None, None]
    ones = torch.ones(1, *camera.size, 1)
    return PhotoSet.of([Photo(images[n : n + 1], ones, camera[n : n + 1]) for n in range(len(images))])


def test_swept_depths() -> None:
    """A ball that is too small gets the right size by colours alone, and where there are none, nothing moves."""
    camera = around(20, 64)
    gains = torch.linspace(0.8, 1.2, 20)
    walls, ball = cube(2.0), icosphere(4, radius=0.46)
    small = Mesh(
        torch.cat([walls.positions, ball.positions]), torch.cat([walls.faces, ball.faces + len(walls.positions)])
    )
    begin, true = mesh_depths(small, camera), depths_of(room(), camera)
    on_ball = (begin < 1.5) & (true < 1.3)
    swept = sweep_depths(begin, painted_room(camera, gains), reach=0.08, neighbours=5)
    before, after = ((depths - true)[on_ball].abs().median() for depths in (begin, swept.depths))
    assert before > 0.04
    assert after < 0.4 * before
    assert swept.weights.min() > 0
    assert swept.weights[on_ball].mean() > 0.3
    grey = PhotoSet.of(photos_of(camera))
    still = sweep_depths(begin, grey, reach=0.08, neighbours=5)
    assert (still.depths / begin - 1).abs().max() < 1e-3
    assert still.weights.max() < 0.05


def test_contracted_space() -> None:
    """Contraction and its inverse cancel, and the derivative agrees with finite differences."""
    points = torch.tensor([[0.3, -0.2, 0.1], [2.0, -1.0, 0.5], [10.0, 20.0, -5.0]], dtype=torch.float64)
    space = Contracted()
    torch.testing.assert_close(space.outward(space.inward(points)), points)
    inner = space.inward(points).requires_grad_()
    assert torch.autograd.gradcheck(space.outward, inner)
    assert bool(space.outward(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])).isfinite().all())


def test_errors_of_a_part() -> None:
    """A floor below a ball does not count as an error if the truth is declared to be a part; otherwise it does."""
    ball = icosphere(4)
    floor = torch.tensor([[-3.0, -1.0, -3.0], [-3.0, -1.0, 3.0], [3.0, -1.0, -3.0], [3.0, -1.0, 3.0]])
    faces = torch.cat([ball.faces, torch.tensor([[0, 1, 2], [2, 1, 3]]) + len(ball.positions)])
    both = Mesh(torch.cat([ball.positions, floor]), faces)
    assert surface_errors(both, ball, count=20_000)["accuracy"] > 0.05
    part = surface_errors(both, ball, count=20_000, part=True)
    assert part["chamfer"] < 0.002
    with pytest.raises(ValueError, match="truth: no part of the mesh is where it is"):
        surface_errors(both, replace(ball, positions=ball.positions + 10), count=20_000, part=True)


def test_cameras_that_look_at_nothing_in_common() -> None:
    camera = around(6, 16)
    check_overlap(photos_of(camera))
    with pytest.raises(ValueError, match="at least 3 photographs to fit, beside those held out, got 2"):
        check_overlap(photos_of(camera)[:2])
    flip = torch.tensor([1.0, -1.0, -1.0, 1.0])[:, None]
    away = replace(camera, world_to_camera=flip * camera.world_to_camera)
    with pytest.raises(ValueError, match=r"give --axes opencv$"):
        check_overlap(photos_of(away))
    inverse = replace(camera, world_to_camera=torch.linalg.inv(camera.world_to_camera))
    with pytest.raises(ValueError, match=r"give --poses world-to-camera$"):
        check_overlap(photos_of(inverse))
    apart = camera.world_to_camera.clone()
    apart[:] = torch.eye(4)
    apart[:, 0, 3] = 10.0 * torch.arange(6)  # side by side, ten units apart
    with pytest.raises(ValueError, match="look at no common place"):
        check_overlap(photos_of(replace(camera, world_to_camera=apart)))
