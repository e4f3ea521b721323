"""Materials and light from photographs: what is found against what is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lumigrad.fit import fibonacci_cameras
from lumigrad.fit.materials import (
    MaterialMaps,
    MaterialsState,
    Schedule,
    Stage,
    Tracing,
    Weights,
    bake_occlusion,
    choose_normals,
    draw,
    fit_materials,
    light_of,
    maps_of,
    material_errors,
    penalty,
    stages_of,
    start_parameters,
    weights_of,
)
from lumigrad.fit.materials.relief import relief_normals, texel_axes
from lumigrad.fit.photos import Photo
from lumigrad.fit.reconstruct import PhotoSet, unwrap
from lumigrad.fit.reconstruct.projection import texels
from lumigrad.render import render, render_path
from lumigrad.scene import Mesh, PBRMaterial, PerspectiveCamera, Scene, icosphere
from lumigrad.scene.color import srgb_decode, srgb_encode
from lumigrad.scene.light.cubemap import cube_directions
from lumigrad.scene.shapes.procedural import sphere_uvs

SIZE = (32, 32)


def lamps(size: int = 16) -> Tensor:
    """Grey walls, and a large lamp above on one side."""
    towards = torch.nn.functional.normalize(cube_directions(size), dim=-1)
    axis = torch.nn.functional.normalize(torch.tensor([0.6, 0.7, 0.4]), dim=0)
    return 0.25 + 4.0 * torch.sigmoid(40 * ((towards @ axis) - 0.85))[..., None] * torch.ones(3)


def painted(material: PBRMaterial) -> Mesh:
    return replace(icosphere(3, radius=0.9), materials=(material,))


@torch.no_grad()
def photographs(mesh: Mesh, light: Tensor, count: int = 8) -> list[Photo]:
    """Photographs by path tracing, which the fits do not use."""
    camera = fibonacci_cameras(count, SIZE)
    scene = Scene(mesh, environment=light_of(light, Tracing()))
    shot = render_path(scene, camera, samples=64, max_depth=2)
    images = shot.straight()[..., :3].clamp(0, 1) * shot.mask
    ones = torch.ones(1, *SIZE, 1)
    return [Photo(images[n : n + 1], ones, camera[n : n + 1], shot.mask[n : n + 1]) for n in range(count)]


def fitted(mesh: Mesh, photos: list[Photo], stages: tuple[Stage, ...], albedo: float) -> tuple[MaterialsState, Mesh]:
    """The state after a fit, and the mesh with the fitted material."""
    bare = Mesh(mesh.positions, mesh.faces)
    data = PhotoSet.of(photos)
    state = MaterialsState.begin(bare, data, size=32, light_size=8, albedo=albedo)
    state = fit_materials(bare, data, state, Schedule(stages, 60, albedo=albedo, batch=2))
    return state, state.maps().on(state.on(bare))


@pytest.fixture(scope="module")
def glossy() -> tuple[Mesh, list[Photo]]:
    mesh = painted(PBRMaterial(base_color=(0.5, 0.2, 0.1), metallic=0.0, roughness=0.3))
    return mesh, photographs(mesh, lamps())


FAST = (Stage(0.0, coarse=True),)
TRACED = (*FAST, Stage(0.5, coarse=True, traced=True))


@pytest.mark.parametrize(("stages", "roughness"), [(FAST, 0.18), (TRACED, 0.1)])
def test_uniform_ball(glossy: tuple[Mesh, list[Photo]], stages: tuple[Stage, ...], roughness: float) -> None:
    """Roughness and the colour of a ball are found, and where the lamp is."""
    mesh, photos = glossy
    state, found = fitted(mesh, photos, stages, albedo=0.27)
    errors = material_errors(found, mesh, [photo.camera for photo in photos])
    assert errors["roughness_error"] < roughness  # it begins 0.22 off
    assert errors["base_color_error"] < 0.05
    towards = torch.nn.functional.normalize(cube_directions(8), dim=-1)
    excess = (state.maps().light.mean(-1, keepdim=True) - 0.5).clamp_min(0)
    lamp = torch.nn.functional.normalize((excess * towards).sum((0, 1, 2)), dim=0)
    true_lamp = torch.nn.functional.normalize(torch.tensor([0.6, 0.7, 0.4]), dim=0)
    assert math.degrees(math.acos(float(lamp @ true_lamp))) < 15


def test_metal_is_told_from_paint() -> None:
    mesh = painted(PBRMaterial(base_color=(0.9, 0.7, 0.4), metallic=1.0, roughness=0.3))
    state, _ = fitted(mesh, photographs(mesh, lamps()), FAST, albedo=0.65)
    assert float(state.maps().metallic.mean()) > 0.6  # it begins at 0.08


def test_normal_map() -> None:
    """Waves on a ball, photographed without noise, are found in part, and kept."""
    ball = icosphere(3, radius=0.9)
    turn = 16 * math.pi * torch.arange(64) / 64
    slopes = torch.stack((0.5 * torch.sin(turn).expand(32, 64), torch.zeros(32, 64), torch.ones(32, 64)), -1)
    waves = 0.5 + 0.5 * torch.nn.functional.normalize(slopes, dim=-1)
    uvs, uv_faces = sphere_uvs(ball.positions, ball.faces)
    material = PBRMaterial(base_color=(0.3, 0.3, 0.3), roughness=0.4, normal_texture=waves)
    truth, bare = Mesh(ball.positions, ball.faces, uvs, uv_faces, materials=(material,)), ball
    camera = fibonacci_cameras(10, SIZE)
    with torch.no_grad():
        shot = render(Scene(truth, environment=light_of(lamps())), camera)
    images = shot.straight()[..., :3].clamp(0, 1) * shot.mask
    one = torch.ones(1, *SIZE, 1)
    photos = [Photo(images[n : n + 1], one, camera[n : n + 1], shot.mask[n : n + 1]) for n in range(10)]
    fitted, held_out = PhotoSet.of(photos[:8]), photos[8:]
    state = MaterialsState.begin(bare, fitted, size=64, light_size=8, normals=True)
    schedule = Schedule((Stage(0.0, coarse=True), Stage(0.4)), 70, weights=weights_of(normals=True))
    fit_materials(bare, fitted, state, schedule)
    choice = choose_normals(bare, fitted, state, schedule, held_out)
    assert choice.state is state
    assert choice.numbers["normal_map"]
    found = state.maps().on(state.on(bare))
    errors = material_errors(found, truth, [camera[n] for n in range(8)])
    assert errors["flat_normal_error_deg"] > 14
    assert errors["normal_error_deg"] < errors["flat_normal_error_deg"] - 1.5


def test_a_normal_map_that_is_wrong_is_left_out(glossy: tuple[Mesh, list[Photo]]) -> None:
    """Bumps on a smooth ball: the choice is the flat surface, whose other maps have adapted, and says by how much."""
    mesh, photos = glossy
    bare, fitted = Mesh(mesh.positions, mesh.faces), PhotoSet.of(photos[1:])
    state = MaterialsState.begin(bare, fitted, size=32, light_size=4, normals=True)
    schedule = Schedule(FAST, 12, batch=2, weights=weights_of(normals=True))
    fit_materials(bare, fitted, state, schedule)
    generator = torch.Generator().manual_seed(0)
    state.parameters["normal"][-1] += torch.randn(state.parameters["normal"][-1].shape, generator=generator)
    choice = choose_normals(bare, fitted, state, schedule, photos[:1])
    assert not choice.numbers["normal_map"]
    assert choice.numbers["psnr_without_normal_map_db"] > choice.numbers["psnr_with_normal_map_db"] + 1
    assert choice.state.maps().normal is None
    assert choice.state.iteration == state.iteration
    assert state.maps().normal is not None  # what was given stays
    light = [one.parameters["light"][0] for one in (choice.state, state)]
    assert not torch.equal(*light)


@pytest.mark.parametrize("mirrored", [False, True])
def test_relief_of_sheared_and_stretched_texels(mirrored: bool) -> None:
    """A slope in space is met whatever the texture coordinates of the plane are."""
    corners = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
    turned = torch.tensor([[0.30, 0.10], [-0.05, -0.15]]) * torch.tensor([-1.0 if mirrored else 1.0, 1.0])
    uvs = 0.5 + corners[:, :2] @ turned
    mesh = Mesh(corners, torch.tensor([[0, 1, 2], [0, 2, 3]]), uvs=uvs)
    size = (48, 40)
    found, axes = texels(mesh, size), texel_axes(mesh, size)
    slope = torch.tensor([0.3, -0.2])
    side = math.sqrt(4.0 / (4 * abs(float(torch.linalg.det(turned))) * size[0] * size[1]))  # plane / texels on it
    height = torch.zeros(*size, 1)
    height[found.inside] = (found.points[:, :2] @ slope / side)[:, None]
    normals = 2 * relief_normals(height, axes) - 1
    tangents, faces = mesh.tangents()
    tangent, hand = tangents[faces[0, 0].long()].split((3, 1))
    up = torch.tensor([0.0, 0.0, 1.0])
    frame = torch.stack((tangent, hand * torch.linalg.cross(up, tangent), up))
    inner = torch.nn.functional.avg_pool2d(found.inside[None, None].float(), 3, 1, 1)[0, 0] > 0.99
    expected = torch.nn.functional.normalize(torch.tensor([-0.3, 0.2, 1.0]), dim=0)
    assert int(inner.sum()) > 100
    assert torch.allclose(normals[inner] @ frame, expected.expand(int(inner.sum()), 3), atol=1e-4)


def test_exposure(glossy: tuple[Mesh, list[Photo]]) -> None:
    """Gains of photographs are found up to a common factor."""
    mesh, photos = glossy
    gains = [1.0, 0.6, 1.0, 1.5, 1.0, 0.8, 1.2, 1.0]
    taken = [replace(photo, image=_scaled(photo.image, gain)) for photo, gain in zip(photos, gains, strict=True)]
    bare, data = Mesh(mesh.positions, mesh.faces), PhotoSet.of(taken)
    state = MaterialsState.begin(bare, data, size=32, light_size=4)
    fit_materials(bare, data, state, Schedule(FAST, 50, exposure=True))
    found = state.gains.mean(-1)
    true = torch.tensor(gains)
    assert (found / found.mean() - true / true.mean()).abs().mean() < 0.08
    assert abs(float(state.gains.log().mean())) < 1e-5  # a common factor is light


def test_the_light_starts_as_bright_on_a_white_ground(glossy: tuple[Mesh, list[Photo]]) -> None:
    """Without an alpha channel, what is around the mesh does not count."""
    mesh, photos = glossy
    bare = Mesh(mesh.positions, mesh.faces)
    assert all(photo.alpha is not None for photo in photos)
    white = [replace(one, image=one.image + 1 - one.alpha, alpha=None) for one in photos]  # type: ignore[operator]
    dim, bright = (MaterialsState.begin(bare, PhotoSet.of(some), 32, 4).maps().light.mean() for some in (photos, white))
    assert float(bright) == pytest.approx(float(dim), rel=0.02)


def _scaled(image: Tensor, gain: float) -> Tensor:
    return srgb_encode(gain * srgb_decode(image)).clamp(0, 1)


def test_maps_are_physical() -> None:
    """Maps are physically valid for any parameters."""
    parameters = start_parameters((8, 6), 4, 0.3, torch.tensor(0.2), normals=True)
    generator = torch.Generator().manual_seed(0)
    wild = {name: [50 * torch.randn(level.shape, generator=generator) for level in levels]
            for name, levels in parameters.items()}  # fmt: skip
    maps = maps_of(wild, (8, 6), axes=torch.rand(8, 6, 3, generator=generator))
    assert maps.normal is not None
    for image, low in ((maps.base_color, 0.0), (maps.metallic, 0.0), (maps.roughness, 0.05)):
        assert image.shape[:2] == (8, 6)
        assert float(image.min()) >= low
        assert float(image.max()) <= 1
    assert float(maps.light.min()) >= 0
    assert maps.light.shape == (6, 4, 4, 3)
    assert torch.allclose((2 * maps.normal - 1).norm(dim=-1), torch.ones(8, 6))


def test_the_start_has_the_albedo_and_the_light_of_the_photographs() -> None:
    maps = maps_of(start_parameters((8, 8), 4, 0.25, torch.tensor(0.1), normals=True), (8, 8))
    assert float(srgb_decode(maps.base_color).mean()) == pytest.approx(0.25, rel=0.02)
    assert float(maps.light.mean()) == pytest.approx(0.4, rel=1e-4)
    assert maps.normal is not None
    assert maps.normal[0, 0].tolist() == [0.5, 0.5, 1.0]


def test_the_light_is_the_product_of_its_levels() -> None:
    """A coarse texel brightens all of its face, a fine one itself."""
    parameters = start_parameters((8, 8), 8, 0.3, torch.tensor(0.3), normals=False)
    sides = [level.shape[1] for level in parameters["light"]]
    assert sides == [1, 2, 4, 8]
    parameters["light"][0][2] += 1.0
    parameters["light"][-1][3, 5, 6] += 2.0
    expected = torch.ones(6, 8, 8, 3)
    expected[2] = math.e
    expected[3, 5, 6] = math.e**2
    for coarse in (False, True):  # the light is whole while the surface is uniform
        assert torch.allclose(maps_of(parameters, (8, 8), coarse=coarse).light, expected, rtol=1e-5)


def test_gradients_of_maps_and_penalty() -> None:
    parameters = start_parameters((6, 4), 2, 0.3, torch.tensor(0.2), normals=True)
    generator = torch.Generator().manual_seed(1)
    names = [name for name, levels in parameters.items() for _ in levels]
    leaves = [
        (level + 0.3 * torch.randn(level.shape, generator=generator)).double().requires_grad_()
        for levels in parameters.values()
        for level in levels
    ]
    covered = torch.ones(6, 4, dtype=torch.bool)
    covered[0, :2] = False
    # The scale of colour steps is not differentiated, nor is the mean that the light's terms are relative to.
    constant = Weights(surface=0.0, light=0.0, white=0.0)

    def built(*values: Tensor) -> MaterialMaps:
        found: dict[str, list[Tensor]] = {name: [] for name in names}
        for name, value in zip(names, values, strict=True):
            found[name].append(value)
        return maps_of(found, (6, 4))

    def images(*values: Tensor) -> tuple[Tensor, ...]:
        maps = built(*values)
        assert maps.normal is not None
        return maps.base_color, maps.roughness, maps.metallic, maps.light, maps.normal

    assert torch.autograd.gradcheck(images, leaves, fast_mode=True)
    assert torch.autograd.gradcheck(lambda *values: penalty(built(*values), covered, 0.3, constant), leaves)


def test_penalties_prefer_what_they_should() -> None:
    """Each term alone is larger for what it is to prevent."""
    grey = torch.full((8, 8, 1), 0.5)
    light = torch.ones(6, 4, 4, 3)
    plain = MaterialMaps(grey.expand(8, 8, 3), grey, 0 * grey, light)
    covered = torch.ones(8, 8, dtype=torch.bool)
    half = torch.ones(8, 8, 1)
    half[:4] = 0.2
    none = Weights(*[0.0] * len(Weights()))

    plain = replace(plain, normal=torch.tensor([0.5, 0.5, 1.0]).expand(8, 8, 3))

    def cost(name: str, maps: MaterialMaps) -> float:
        return float(penalty(maps, covered, 0.2, none._replace(**{name: 1.0})))

    worse = {
        "base_color": replace(plain, base_color=half.expand(8, 8, 3)),
        "surface": replace(plain, roughness=half),
        "metallic": replace(plain, metallic=half),
        "tilt": replace(plain, normal=torch.tensor([0.8, 0.5, 0.9]).expand(8, 8, 3)),
        "light": replace(plain, light=light * torch.linspace(0.5, 1.5, 4)[:, None]),
        "white": replace(plain, light=light * torch.tensor([1.0, 0.8, 0.5])),
        "albedo": replace(plain, base_color=half.expand(8, 8, 3)),
    }
    for name, maps in worse.items():
        assert cost(name, maps) > cost(name, plain) + 0.01
    # Waves are level on average.
    waves = 0.5 + 0.3 * (-1.0) ** torch.arange(8)[:, None, None]
    wavy = replace(plain, normal=torch.cat((waves.expand(8, 8, 1), torch.full((8, 8, 2), 0.5)), -1))
    assert cost("tilt", wavy) < 1e-6
    # Where the paint changes, roughness may.
    both = replace(worse["surface"], base_color=half.expand(8, 8, 3))
    assert cost("surface", both) < 0.01 * cost("surface", worse["surface"])


def test_occlusion_between_plates() -> None:
    """Under a wide roof, almost no light arrives; on top of it, all of it does."""
    corners = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
    positions = torch.cat((corners, corners + torch.tensor([0.0, 0.02, 0.0])))
    mesh = Mesh(positions, torch.cat((quad, quad + 4)))
    uvs, uv_faces, size, _ = unwrap(mesh.positions, mesh.faces, 64)
    mesh = replace(mesh, uvs=uvs, uv_faces=uv_faces)
    found = texels(mesh, size)
    open_air = bake_occlusion(mesh, size)[found.inside][:, 0]
    below = found.points[:, 1] < 0.01
    middle = found.points[:, [0, 2]].abs().amax(-1) < 0.8
    assert float(open_air[below & middle].max()) < 0.1
    assert float(open_air[~below & middle].min()) > 0.95


def test_shadows_are_in_traced_light_alone() -> None:
    """Below a roof, traced light is dark; the fast one is where occlusion says so."""
    corners = torch.tensor([[-1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 0.0, -1.0]])
    quad = torch.tensor([[0, 1, 2], [0, 2, 3]])
    positions = torch.cat((corners, 4 * corners + torch.tensor([0.0, 0.1, 0.0])))
    mesh = Mesh(positions, torch.cat((quad, quad + 4)), uvs=torch.cat((corners, corners))[:, [0, 2]] * 0.5 + 0.5)
    camera = PerspectiveCamera.orbit(torch.zeros(1), 1.0, 5.0, fov_y=30.0, size=(33, 33), target=(0.0, 0.05, 0.0))
    grey = torch.full((8, 8, 1), 0.5)
    above = torch.zeros(6, 4, 4, 3)
    above[2] = 1.0
    maps = MaterialMaps(grey.expand(8, 8, 3), 2 * grey, 0 * grey, above)
    ground = (draw(mesh, maps, camera).color, draw(mesh, maps, camera, Tracing(16)).color)
    fast, traced = (float(image[0, 16, 16].mean()) for image in ground)
    assert fast > 0.1
    assert traced < 0.3 * fast


def test_the_state_is_checked() -> None:
    ball = icosphere(1)
    uvs, uv_faces, size, _ = unwrap(ball.positions, ball.faces, 64)
    values = start_parameters(size, 4, 0.3, torch.tensor(0.2), normals=False)
    state = MaterialsState(uvs, uv_faces, torch.ones(*size, 1), values, torch.ones(2, 3))
    assert MaterialsState.from_dict(state.to_dict()).size == size
    with pytest.raises(ValueError, match=r"state.parameters: light missing"):
        MaterialsState.from_dict({**state.to_dict(), "parameters": {k: v for k, v in values.items() if k != "light"}})
    with pytest.raises(ValueError, match=r"state.axes: expected None"):
        MaterialsState.from_dict({**state.to_dict(), "axes": torch.ones(*size, 3)})
    with pytest.raises(ValueError, match="holds values that are not finite"):
        MaterialsState.from_dict({**state.to_dict(), "occlusion": torch.full((*size, 1), torch.nan)})


def test_wrong_words() -> None:
    with pytest.raises(ValueError, match="light: expected one of fast, traced, got 'slow'"):
        stages_of("slow")
