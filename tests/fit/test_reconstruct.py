"""The stages of a reconstruction, each on a small case of which the answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reconstruct_common import ball, photographs, striped, subject, write_photos

from lumigrad.fit import CheckpointError, fibonacci_cameras
from lumigrad.fit.photos import Photo, load_photos
from lumigrad.fit.photos.measure import measure
from lumigrad.fit.reconstruct import (
    PhotoSet,
    Placement,
    ReconstructJob,
    ReconstructOptions,
    project_colors,
    surface_errors,
    unwrap,
)
from lumigrad.fit.reconstruct import atlas as atlas_module
from lumigrad.fit.reconstruct.components import without_cavities
from lumigrad.fit.reconstruct.conventions import better_reading, reread
from lumigrad.fit.reconstruct.drawing import Drawer
from lumigrad.fit.reconstruct.exposure import best_gains, centred
from lumigrad.fit.reconstruct.hull import agreement, place_and_hull
from lumigrad.fit.reconstruct.measure import evaluate
from lumigrad.fit.reconstruct.results import around, exported
from lumigrad.fit.report_page import Curve, Picture, write_page
from lumigrad.io import load_dataset, load_mesh, save_image, save_mesh
from lumigrad.scene import Mesh, PerspectiveCamera, creature, icosphere

PLAIN = ReconstructOptions(iterations=40, texture_size=128)


def photo_list(mesh: Mesh, count: int = 10, size: int = 48) -> list[Photo]:
    camera = fibonacci_cameras(count, (size, size))
    images = photographs(mesh, camera)
    color, alpha = images[..., :3] * images[..., 3:], images[..., 3:]
    one = torch.ones_like(alpha[:1])
    return [Photo(color[n : n + 1], one, camera[n : n + 1], alpha[n : n + 1]) for n in range(count)]


def photo_set(mesh: Mesh, count: int = 10, size: int = 48) -> PhotoSet:
    return PhotoSet.of(photo_list(mesh, count, size))


def test_photographs_of_several_sizes_are_padded() -> None:
    large, small = photo_list(ball(), 2, 48), photo_list(ball(), 3, 24)
    photos = PhotoSet.of([*large, *small])
    assert photos.size == (48, 48)
    assert photos.counts.sum((1, 2, 3)).tolist() == [48**2] * 2 + [24**2] * 3
    torch.testing.assert_close(photos.images[3, :24, :24], small[1].image[0].half())
    point = torch.tensor([[0.1, 0.2, 0.3]])
    torch.testing.assert_close(photos.camera[3].pixels(point), small[1].camera.pixels(point)[0])


def test_photographs_with_and_without_alpha_are_refused() -> None:
    one, other = photo_list(ball(), 2)
    with pytest.raises(ValueError, match="1 have none"):
        PhotoSet.of([one, replace(other, alpha=None)])


def test_placement() -> None:
    """The box goes into the unit ball and back, and cameras see the same at the same pixels."""
    low, high = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 5.0, 9.0])
    place = Placement.around(low, high)
    inside = place.inward(torch.stack([low, high]))
    torch.testing.assert_close(inside.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(place.outward(inside), torch.stack([low, high]))
    camera = PerspectiveCamera.orbit(torch.tensor([20.0, 80.0]), 30.0, 20.0, 40.0, (60, 80))
    points = low + torch.rand(5, 3) * (high - low)
    torch.testing.assert_close(place.camera(camera).pixels(place.inward(points)), camera.pixels(points))
    depth = place.camera(camera).depth(place.inward(points))
    torch.testing.assert_close(depth * place.scale, camera.depth(points), rtol=1e-4, atol=1e-4)


def test_hull_of_a_ball() -> None:
    """The hull surrounds a ball and is little larger, also if the ball is so small and far away that it must be
    searched for."""
    far = striped(icosphere(4, radius=0.2))
    photos = photo_set(Mesh(far.positions + torch.tensor([0.5, 0.3, -0.2]), far.faces, colors=far.colors), 16)
    hull = place_and_hull(photos, 48)
    assert hull is not None
    mesh = hull.place.mesh(hull.mesh)
    assert (hull.place.centre - torch.tensor([0.5, 0.3, -0.2])).abs().max() < 0.05
    radius = (mesh.positions - torch.tensor([0.5, 0.3, -0.2])).norm(dim=1)
    assert radius.min() > 0.19
    assert radius.max() < 0.26
    assert hull.agreement == agreement(hull.mesh, hull.photos) > 0.9


@pytest.mark.parametrize(
    ("axes", "poses"), [("opencv", "camera-to-world"), ("opengl", "world-to-camera"), ("opencv", "world-to-camera")]
)
def test_wrong_conventions_are_named(axes: str, poses: str, tmp_path: Path) -> None:
    """A file with matrices of another meaning: the error says with which options masks fit, and with them they do."""
    data = load_dataset(write_photos(tmp_path, ball(), 10))
    true = torch.stack([camera.world_to_camera for camera in data.cameras])
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
    matrix = flip @ true if axes == "opencv" else true
    in_file = matrix if poses == "world-to-camera" else torch.linalg.inv(matrix)
    cameras = tuple(replace(c, world_to_camera=torch.linalg.inv(m)) for c, m in zip(data.cameras, in_file, strict=True))
    wrong = replace(data, cameras=cameras)
    options = f"--axes {axes}" * (axes == "opencv") + " " + f"--poses {poses}" * (poses == "world-to-camera")
    with pytest.raises(ValueError, match=f"give {options.strip()}$"):
        ReconstructJob.of_object(wrong, PLAIN)
    right = reread(wrong, axes, poses)
    torch.testing.assert_close(torch.stack([camera.world_to_camera for camera in right.cameras]), true)


def test_masks_of_something_else(tmp_path: Path) -> None:
    """Masks that are inconsistent under every convention give an error."""
    photos = photo_set(ball(), 12)
    corner = torch.zeros_like(photos.alpha)
    for n in range(12):
        row, column = divmod(11 * n % 12, 4)
        corner[n, 14 * row : 14 * row + 8, 11 * column : 11 * column + 8] = 1
    assert better_reading(replace(photos, alpha=corner)) is None


def test_cavities_and_their_walls() -> None:
    outer, inner = icosphere(2), icosphere(1, radius=0.5)
    faces = torch.cat([outer.faces, inner.faces.flip(1) + len(outer.positions)])
    hollow = Mesh(torch.cat([outer.positions, inner.positions]), faces)
    assert len(without_cavities(hollow).faces) == len(outer.faces)


@pytest.mark.parametrize("library", [False, pytest.param(True, id="xatlas")])
def test_unwrapped_faces_do_not_overlap(library: bool) -> None:
    """Areas of faces in the texture sum to what they cover together."""
    if library:
        pytest.importorskip("xatlas")
    mesh = creature(2)
    atlas = unwrap(mesh.positions, mesh.faces, 256, library)
    a, b, c = atlas.uvs[atlas.uv_faces].unbind(1)
    areas = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs()
    grid = torch.stack(torch.meshgrid(*([(torch.arange(90) + 0.5) / 90] * 2), indexing="xy"), -1).view(-1, 2)

    def side(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        s, t = s[:, None], t[:, None]
        return (t - s)[..., 0] * (grid - s)[..., 1] - (t - s)[..., 1] * (grid - s)[..., 0]

    signs = torch.stack([side(a, b), side(b, c), side(c, a)])
    hits = ((signs > 0).all(0) | (signs < 0).all(0)).sum(0).float()
    assert hits.max() == 1
    assert abs(hits.mean() - areas.sum()) < 0.02
    assert areas.sum() > 0.3  # little is wasted


def test_projected_colors() -> None:
    """Projected colours are those of the visible surface, and missing where another part hides it; gains are
    removed."""
    mesh, photos = subject(), photo_set(subject(), 12, 96)
    gains = torch.linspace(0.8, 1.2, 12)[:, None].expand(12, 3)
    brighter = replace(photos, images=(photos.images * gains[:, None, None]).half())
    found = project_colors(mesh, brighter, mesh.positions, mesh.vertex_normals(), gains)
    seen = found.weights > 0
    assert seen.float().mean() > 0.9
    assert (found.colors - mesh.colors)[seen].abs().mean() < 0.02
    # A lid close above the ball hides what is below it from all cameras.
    lid = icosphere(4, radius=1.0)
    both = Mesh(
        torch.cat([mesh.positions, 1.2 * lid.positions]), torch.cat([mesh.faces, lid.faces + len(mesh.positions)])
    )
    assert not (project_colors(both, photos, mesh.positions, mesh.vertex_normals(), gains).weights > 0).any()


def test_gains() -> None:
    random = torch.Generator().manual_seed(0)
    color = torch.rand(3, 16, 16, 3, generator=random)
    gains = torch.tensor([[0.5, 0.6, 0.7], [1.0, 0.9, 0.8], [0.7, 0.7, 0.7]])
    counts = torch.ones(3, 16, 16, 1, dtype=torch.bool)
    target = color * gains[:, None, None]
    target[:, :4] = torch.rand(3, 4, 16, 3, generator=random)
    counts[:, :4] = False
    assert (best_gains(color, target, counts) - gains).abs().max() < 0.02
    torch.testing.assert_close(centred(gains).log().mean(0), torch.zeros(3))


def test_surface_errors() -> None:
    """Errors are right for concentric balls and for half a ball, which is accurate but misses half of the truth."""
    ball, diagonal = icosphere(4), 12**0.5
    same = surface_errors(icosphere(4), ball, 4000)
    assert same["chamfer"] < 1e-3
    assert same["f_score"] > 0.98
    assert same["normal_error_degrees"] < 3
    larger = surface_errors(icosphere(4, radius=1.01), ball, 4000)
    assert abs(larger["chamfer"] * diagonal - 0.01) < 1e-3
    half = surface_errors(ball.submesh(ball.positions[ball.faces].mean(1)[:, 0] > 0), ball, 4000)
    assert half["accuracy"] < 1e-3
    assert abs(half["f_score"] - 2 / 3) < 0.03


@pytest.fixture(scope="module")
def object_job(tmp_path_factory: pytest.TempPathFactory) -> ReconstructJob:
    folder = write_photos(tmp_path_factory.mktemp("ball"), ball(), 16, (64, 64))
    return ReconstructJob.of_object(load_dataset(folder), replace(PLAIN, detail=0.4), truth=ball())


def test_object(object_job: ReconstructJob, tmp_path: Path) -> None:
    """A ball of smooth colours: shape and texture, in the world's coordinates, in a file that shows the same."""
    state = object_job.run(object_job.begin(), tmp_path, evaluate_every=20)
    assert object_job.complete(state)
    numbers = object_job.write_results(state, tmp_path, frames=2)
    assert numbers["chamfer"] < 0.004
    assert numbers["psnr_db"] > 28
    assert numbers["covered"] > 0.99
    mesh = load_mesh(tmp_path / "mesh.glb", materials=True)
    assert abs(mesh.positions.norm(dim=1).mean() - 0.8) < 0.01
    assert mesh.materials[0].unlit
    page = (tmp_path / "report.html").read_text()
    assert "comparison.png" in page
    assert "polyline" in page
    photo = object_job.held_out[0]
    shown = Drawer(state.mesh())(photo.camera).color
    back = Mesh(
        object_job.place.inward(mesh.positions),
        mesh.faces,
        mesh.uvs,
        mesh.uv_faces,
        mesh.materials[0].base_color_texture,
    )
    assert (Drawer(back)(photo.camera).color - shown).abs().mean() < 2e-3


def test_texture_and_exposures(tmp_path: Path) -> None:
    """On the true mesh; photographs of which each is brighter or darker than the others give the same texture."""
    gains = 0.9 * torch.tensor([[0.7], [1.1], [0.8]]).repeat(6, 3)[:16] ** torch.tensor([1.0, 0.8, 0.6])
    found = {}
    for name, factors in (("same", None), ("differ", gains)):
        data = load_dataset(write_photos(tmp_path / name, ball(), 16, (64, 64), factors))
        for exposure in (True, False):
            job = ReconstructJob.of_texture(ball(), data, replace(PLAIN, iterations=36, exposure=exposure))
            (tmp_path / "out").mkdir(exist_ok=True)
            state = job.run(job.begin(), tmp_path / "out")
            assert torch.equal(state.positions, job.start.positions)
            found[name, exposure] = job.write_results(state, tmp_path / "out", frames=1)["psnr_gain_db"]
    assert found["same", True] > 32
    assert found["differ", True] > 30
    assert found["differ", True] > found["differ", False] + 4
    assert abs(found["same", True] - found["same", False]) < 1


def test_texture_of_a_mesh_elsewhere(tmp_path: Path) -> None:
    data = load_dataset(write_photos(tmp_path, ball(), 9))
    moved = Mesh(ball().positions + torch.tensor([0.0, 1000.0, 0.0]), ball().faces)
    with pytest.raises(ValueError, match="no photograph shows it"):
        ReconstructJob.of_texture(moved, data, PLAIN)
    small = Mesh(0.2 * ball().positions + torch.tensor([0.5, 0.0, 0.0]), ball().faces)
    with pytest.raises(ValueError, match=r"fills . % of the masks"):
        ReconstructJob.of_texture(small, data, PLAIN)


def test_held_out_photographs_without_a_pixel_to_compare(tmp_path: Path) -> None:
    """One is left out of the means; where all are so, this is said before the fit."""
    data = load_dataset(write_photos(tmp_path, ball(), 9))
    black, white = tmp_path / "black.png", tmp_path / "white.png"
    save_image(torch.zeros(48, 48, 3), black)
    save_image(torch.ones(48, 48, 3), white)
    some = replace(data, held_out=(0, 1), masks=(black,) + 8 * (white,))
    job = ReconstructJob.of_texture(ball(), some, replace(PLAIN, iterations=1))
    (blind, seen), mesh = job.held_out, job.begin().mesh()
    assert evaluate(mesh, [blind, seen]) == evaluate(mesh, [seen])
    assert measure(lambda camera: seen.image, [blind, seen]) == measure(lambda camera: seen.image, [seen])
    for function in (lambda: evaluate(mesh, [blind]), lambda: measure(lambda camera: seen.image, [blind])):
        with pytest.raises(ValueError, match="none of 1 has a pixel that counts"):
            function()
    none = replace(data, held_out=(0, 1), masks=2 * (black,) + 7 * (white,))
    with pytest.raises(ValueError, match="none of the 2 photographs held out has a pixel"):
        ReconstructJob.of_texture(ball(), none, PLAIN)
    with pytest.raises(ValueError, match="none of the 7 photographs to fit has a pixel"):
        ReconstructJob.of_texture(ball(), replace(none, masks=2 * (white,) + 7 * (black,)), PLAIN)


@pytest.mark.parametrize("library", [False, pytest.param(True, id="xatlas")])
def test_metrics_say_which_atlas_was_used(tmp_path: Path, library: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if library:
        pytest.importorskip("xatlas")
    monkeypatch.setattr(atlas_module, "installed", lambda name: library)
    data = load_dataset(write_photos(tmp_path / "data", ball(), 5))
    job = ReconstructJob.of_texture(icosphere(2, 0.8), data, replace(PLAIN, iterations=1))
    state = job.run(job.begin(), tmp_path)
    monkeypatch.setattr(atlas_module, "installed", lambda name: not library)  # when the results are written
    assert job.resume(tmp_path).atlas == state.atlas
    assert job.write_results(state, tmp_path, frames=1)["atlas"] == ("xatlas" if library else "lumigrad")
    state.atlas = "something"
    job.checkpoints(tmp_path).save(state)
    with pytest.raises(CheckpointError, match=r"is damaged: state\.atlas: 'something'"):
        job.resume(tmp_path)


def test_own_texture_coordinates(tmp_path: Path) -> None:
    """A mesh's own texture coordinates are kept, or refused if they repeat the texture."""
    data = load_dataset(write_photos(tmp_path, ball(), 9))
    atlas = unwrap(ball().positions, ball().faces, 128, xatlas=False)
    mesh = Mesh(ball().positions, ball().faces, atlas.uvs, atlas.uv_faces)
    job = ReconstructJob.of_texture(mesh, data, replace(PLAIN, iterations=2))
    state = job.run(job.begin(), tmp_path)
    torch.testing.assert_close(state.uvs, atlas.uvs)
    assert state.atlas == "mesh"
    assert state.appearance.shape == (128, 128, 3)
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        ReconstructJob.of_texture(replace(mesh, uvs=3 * atlas.uvs), data, PLAIN)


def test_turntable_cameras() -> None:
    """Turntable cameras look at the origin from the photographs' distance, once around."""
    camera = around(photo_set(ball(), 10), 8)
    torch.testing.assert_close(camera.pixels(torch.zeros(1, 3)), torch.full((8, 1, 2), 24.0))
    distances = camera.position.norm(dim=1)
    assert (distances - photo_set(ball(), 10).camera.position.norm(dim=1).median()).abs().max() < 0.1


def test_exported_without_texture(tmp_path: Path) -> None:
    """A mesh that has only colours of its vertices keeps them."""
    save_mesh(exported(ball(), Placement(torch.ones(3).double(), 2.0)), tmp_path / "mesh.glb")
    mesh = load_mesh(tmp_path / "mesh.glb")
    torch.testing.assert_close(mesh.positions.mean(0), torch.ones(3), atol=1e-4, rtol=0)
    assert mesh.colors is not None


def test_page(tmp_path: Path) -> None:
    """Text is escaped, missing pictures are left out, and curves are within their frame."""
    (tmp_path / "there.png").write_bytes(b"")
    write_page(
        tmp_path / "page.html",
        "A & B",
        {"psnr_db": 31.25, "curve": list(range(100))},
        {"folder": "<x>"},
        [Picture("there.png", "one"), Picture("missing.png", "two")],
        [Curve("c", [0, 1, 2], [5.0, 7.0, 6.0]), Curve("short", [1], [1.0])],
        ("there.png", "none.glb"),
        ["careful"],
    )
    page = (tmp_path / "page.html").read_text()
    assert "A &amp; B" in page
    assert "&lt;x&gt;" in page
    assert "31.25" in page
    assert "missing.png" not in page
    assert "none.glb" not in page
    assert page.count("<polyline") == 1
    assert "careful" in page


def test_masks_in_a_folder(tmp_path: Path) -> None:
    """Masks beside opaque photographs give the same photographs as an alpha channel."""
    from lumigrad.io import load_image, save_image

    folder = write_photos(tmp_path / "data", ball(), 10)
    with_alpha = load_photos(load_dataset(folder), [1])[0]
    masks = tmp_path / "matte"
    for number, path in enumerate(sorted((folder / "images").iterdir())):
        image = load_image(path)
        save_image(image[..., :3], path)
        if number != 4:
            save_image(image[..., 3:].expand(-1, -1, 3), masks / path.name)
    data = load_dataset(folder)
    with pytest.raises(FileNotFoundError, match="none of the 10 photographs"):
        data.with_masks()
    with pytest.raises(FileNotFoundError, match="no such folder"):
        data.with_masks(tmp_path / "nowhere")
    with pytest.warns(UserWarning, match="1 of 10 photographs have no mask"):
        data = data.with_masks(masks)
    assert len(data) == 9
    photo = load_photos(data, [1])[0]
    assert photo.alpha is not None
    assert with_alpha.alpha is not None
    assert torch.equal(photo.alpha, (with_alpha.alpha > 0.5).float())
