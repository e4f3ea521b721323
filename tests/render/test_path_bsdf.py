"""Path tracing with BSDFs written in Python: the same light as by kernels, gradients, wrong names."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from light_common import layered_scene, pixel_rays
from ops_common import scaled_error
from torch import Tensor

import lumigrad as lg
from lumigrad.render import BsdfPoints, batches, lit_scene, render_path, trace_paths_with
from lumigrad.scene import AmbientLight, DiffuseMaterial, PerspectiveCamera, Scene, icosphere

DOUBLE = torch.float64


class Matt:
    """Reflects the same to all sides, on both sides."""

    def __init__(self, color: Tensor) -> None:
        self.color = color

    def value(self, points: BsdfPoints, wi: Tensor, wo: Tensor) -> Tensor:
        return self.color * self.pdf(points, wi, wo)[:, None]

    def pdf(self, points: BsdfPoints, wi: Tensor, wo: Tensor) -> Tensor:
        return torch.where(wi[:, 2] * wo[:, 2] > 0, wo[:, 2].abs() / math.pi, 0)

    def sample(self, points: BsdfPoints, wi: Tensor, numbers: Tensor) -> Tensor:
        a, b = 2 * numbers[:, 1] - 1, 2 * numbers[:, 2] - 1  # the map of Shirley and Chiu, as in the kernel
        wide = a.abs() > b.abs()
        radius, other = torch.where(wide, a, b), torch.where(wide, b, a)
        angle = math.pi / 4 * other / torch.where(radius == 0, 1, radius)
        along, across = radius * angle.cos(), radius * angle.sin()
        x, y = torch.where(wide, along, across), torch.where(wide, across, along)
        return torch.stack((x, y, (1 - x * x - y * y).clamp_min(0).sqrt() * wi[:, 2].sign()), -1)


def test_a_matt_bsdf_is_the_diffuse_material() -> None:
    """In a scene of all other materials and features: image and gradients are those of kernels."""
    scene, rays, ground = layered_scene(), pixel_rays(4, 5, distance=6.0), 1
    kinds = scene.kinds.clone()
    kinds[ground, 0] = 0
    weight = torch.rand(4, 5, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(5))
    rows = scene.materials.clone().requires_grad_()
    out = lg.trace_paths(scene._replace(materials=rows, kinds=kinds), *rays, 3, 5, 3)
    (expected,) = torch.autograd.grad((out.radiance * weight).sum(), rows)
    color = scene.materials[ground, :3].clone().requires_grad_()
    black = scene.materials.clone()
    black[ground, :3] = 0.123
    own = trace_paths_with({ground: Matt(color)}, scene._replace(materials=black), *rays, 3, 5, 3)
    for name in ("radiance", "alpha", "depth", "normals"):
        assert scaled_error(getattr(own, name), getattr(out, name)) < 1e-9, name
    (got,) = torch.autograd.grad((own.radiance * weight).sum(), color)
    assert scaled_error(got, expected[ground, :3]) < 1e-8


def test_materials_are_found_by_name() -> None:
    ball = replace(icosphere(1), materials=(DiffuseMaterial(name="ball"),))
    camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(6, 8))
    scene = Scene(ball, lights=[AmbientLight()])
    color = torch.tensor([0.9, 0.5, 0.1], requires_grad=True)
    shot = render_path(scene, camera, 16, 2, tone_mapping=None, bsdfs={"ball": Matt(color)})
    seen = shot.mask[0, ..., 0] == 1
    assert torch.allclose(shot.color[0][seen].mean(0), color, atol=0.1)
    (slope,) = torch.autograd.grad(shot.color.sum(), color)
    assert (slope > 0).all()
    with pytest.raises(ValueError, match=r"bsdfs: expected names of materials, \['ball'\], got 'box'"):
        render_path(scene, camera, bsdfs={"box": Matt(color)})


def test_progress_is_told_between_batches_of_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "OWN_PATHS_PER_CALL", 2 * 6 * 8)
    ball = replace(icosphere(1), materials=(DiffuseMaterial(name="ball"),))
    camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(6, 8))
    parts: list[float] = []
    matt = {"ball": Matt(torch.tensor([0.9, 0.5, 0.1]))}
    shot = render_path(
        Scene(ball, lights=[AmbientLight()]), camera, 5, 2, tone_mapping=None, bsdfs=matt, progress=parts.append
    )
    assert parts == pytest.approx([0.4, 0.8, 1.0])
    seen = shot.mask[0, ..., 0] == 1
    assert torch.allclose(shot.color[0][seen].mean(0), torch.tensor([0.9, 0.5, 0.1]), atol=0.15)


def test_as_many_samples_as_tiles_need() -> None:
    """Adaptive sampling works as without Python BSDFs: even regions need few samples."""
    ball = replace(icosphere(1), materials=(DiffuseMaterial(name="ball"),))
    camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(16, 16))
    matt = {"ball": Matt(torch.tensor([0.9, 0.5, 0.1]))}
    shot = render_path(Scene(ball, lights=[AmbientLight()]), camera, 96, 2, error=0.5, bsdfs=matt)
    assert shot.samples is not None
    assert shot.samples.min() < 96


def test_meshes_of_images_have_different_materials() -> None:
    """A BSDF is used in the images that show its material, and the others have what they have without."""
    balls = [replace(icosphere(1), materials=(DiffuseMaterial((0.2, 0.2, 0.2), name=name),)) for name in "abc"]
    camera = PerspectiveCamera.orbit(azimuth=30.0, elevation=20.0, distance=3.0, fov_y=45.0, size=(6, 8))
    options = {"samples": 8, "max_depth": 2, "tone_mapping": None, "lights": [AmbientLight()]}
    plain = render_path(balls, camera, **options)
    shot = render_path(balls, camera, **options, bsdfs={"b": Matt(torch.ones(3)), "c": Matt(torch.zeros(3))})
    assert torch.equal(shot.color[0], plain.color[0])
    assert shot.color[1, 3, 4].min() > 3 * plain.color[1, 3, 4].max()
    assert (shot.color[2] == 0).all()
    with pytest.raises(ValueError, match=r"bsdfs: expected names of materials, \['a', 'b', 'c'\], got 'd'"):
        render_path(balls, camera, **options, bsdfs={"d": Matt(torch.ones(3))})


def test_rays_and_seeds_are_checked_as_by_trace_paths() -> None:
    scene = lit_scene([icosphere(1)], [AmbientLight()])
    own = {0: Matt(torch.ones(3))}
    with pytest.raises(ValueError, match=r"directions: expected shape \[H \+ 1, W \+ 1, 3\]"):
        trace_paths_with(own, scene, torch.zeros(4, 3), torch.ones(4, 3))
    with pytest.raises(TypeError, match="gradient_seed"):
        trace_paths_with(own, scene, torch.zeros(2, 2, 3), torch.ones(2, 2, 3), gradient_seed="x")  # type: ignore[arg-type]
