"""Scenes, images and derivatives of Mitsuba 3, for tests of light transport."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lumigrad.render import render_path
from lumigrad.scene import (
    AmbientLight,
    ConductorMaterial,
    DielectricMaterial,
    DiffuseMaterial,
    DirectionalLight,
    EnvironmentLight,
    GridMedium,
    HomogeneousMedium,
    Medium,
    MediumBoundary,
    Mesh,
    PBRMaterial,
    PerspectiveCamera,
    PointLight,
    Scene,
    SpotLight,
    icosphere,
)
from lumigrad.scene.color import srgb_encode
from lumigrad.scene.light.cubemap import cube_directions

ORACLES = Path(__file__).resolve().parents[2] / "shared" / "oracles"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the other renderer's images are not here")
DOUBLE = torch.float64


def linear(color: Tensor) -> Tensor:
    """The tone mapping that shows linear light as it is."""
    return color


class Oracle:
    """A scene of Mitsuba 3, its images, and their standard errors. Pixels are box filtered, as ours."""

    def __init__(self, name: str, subdivisions: int = 4, folder: Path = ORACLES) -> None:
        self.data = np.load(folder / f"{name}.npz")
        self.text = json.loads(str(self.data["scene_json"]))
        self.subdivisions = subdivisions
        meshes = {name: self._mesh(name, what) for name, what in self.text["meshes"].items()}
        self.meshes = meshes | {name: self._sphere(what) for name, what in self.text["spheres"].items()}
        found = [self._light(what) for what in self.text["lights"]]
        lights = [light for light in found if not isinstance(light, EnvironmentLight)]
        environment = next((light for light in found if isinstance(light, EnvironmentLight)), None)
        self.scene = Scene(list(self.meshes.values()), lights=lights, environment=environment)
        self.camera = self._camera()

    def _mesh(self, name: str, what: dict[str, Any]) -> Mesh:
        v, f = torch.from_numpy(self.data[f"{name}.v"]), torch.from_numpy(self.data[f"{name}.f"])
        uv = torch.from_numpy(self.data[f"{name}.uv"]) if f"{name}.uv" in self.data else None
        if what["bsdf"] is None:
            return Mesh(v, f, materials=(MediumBoundary(interior=self._medium(what["medium"])),)).creased(0.0)
        material = self._material(what["bsdf"], what["emission"] or (0.0, 0.0, 0.0))
        return Mesh(v, f, uvs=uv, materials=(material,)).creased(0.0)

    def _sphere(self, what: dict[str, Any]) -> Mesh:
        ball = icosphere(self.subdivisions)
        normals = torch.nn.functional.normalize(ball.positions, dim=-1)
        material = self._material(what["bsdf"], (0.0, 0.0, 0.0))
        positions = normals * what["r"] + torch.tensor(what["c"])
        return Mesh(positions, ball.faces, normals=normals, materials=(material,))

    def _material(self, bsdf: dict[str, Any], emission: tuple[float, ...]) -> Any:
        if bsdf["type"] == "roughconductor":
            return ConductorMaterial(eta=bsdf["eta"], k=bsdf["k"], roughness=math.sqrt(bsdf["alpha"]))
        if bsdf["type"] == "dielectric":
            return DielectricMaterial(ior=bsdf["int_ior"] / bsdf["ext_ior"])
        if bsdf["type"] == "principled":  # which is not glTF's: those pixels are left out
            return PBRMaterial(base_color=bsdf["base_color"], roughness=bsdf["roughness"], metallic=bsdf["metallic"])
        options = {"emissive": [float(value) for value in emission], "double_sided": bsdf.get("twosided", False)}
        if bsdf["reflectance"] == "@texture":
            image = srgb_encode(torch.from_numpy(self.data["texture"]))
            return DiffuseMaterial(base_color=(1.0, 1.0, 1.0), base_color_texture=image, **options)
        return DiffuseMaterial(base_color=bsdf["reflectance"], **options)

    def _medium(self, name: str) -> Medium:
        what = self.text["media"][name]
        if "sigma_t" in what:
            return HomogeneousMedium(extinction=what["sigma_t"], albedo=what["albedo"], g=what["g"])
        place = torch.tensor(what["grid_to_world"])[:3]  # of the unit cube
        box = torch.stack((place[:, 3], place.sum(-1)))
        densities = torch.from_numpy(self.data[what["grid"]])
        return GridMedium(densities=densities, box=box, extinction=what["scale"], albedo=what["albedo"], g=what["g"])

    def _light(self, what: dict[str, Any]) -> Any:
        if what["type"] == "point":
            return PointLight(what["position"], color=what["intensity"])
        if what["type"] == "spot":
            axis = np.subtract(what["target"], what["position"]).tolist()
            return SpotLight(
                what["position"], color=what["intensity"], direction=axis, inner=what["beam_width"],
                outer=what["cutoff_angle"], fade="angle",
            )  # fmt: skip
        if what["type"] == "directional":
            return DirectionalLight([-value for value in what["direction"]], color=what["irradiance"])
        if what["type"] == "constant":
            return AmbientLight(color=what["radiance"])
        return EnvironmentLight(self._looked_up(cube_directions(64, DOUBLE)).float())

    def _looked_up(self, d: Tensor) -> Tensor:
        """Mitsuba's interpolation of its map: columns u W - 1/2, rows v (H - 1)."""
        image = torch.from_numpy(self.data["env"]).double()
        rows, columns = image.shape[:2]
        x, y, z = torch.nn.functional.normalize(d, dim=-1).unbind(-1)
        c, r = torch.atan2(x, -z) / (2 * math.pi) % 1 * columns - 0.5, torch.acos(y.clamp(-1, 1)) / math.pi * (rows - 1)
        left, top = c.floor(), r.floor().clamp(0, rows - 2)
        along, down = (c - left)[..., None], (r - top)[..., None]
        i, j, k = top.long(), left.long() % columns, (left.long() + 1) % columns
        upper, lower = ((1 - along) * image[row, j] + along * image[row, k] for row in (i, i + 1))
        return (1 - down) * upper + down * lower

    def _camera(self) -> PerspectiveCamera:
        height, width = self.text["height"], self.text["width"]
        focal = width / 2 / math.tan(math.radians(self.text["fov_x_deg"]) / 2)
        matrix = torch.linalg.inv(torch.from_numpy(self.data["camera_to_world"])).float()
        return PerspectiveCamera(matrix, focal, focal, width / 2, height / 2, (height, width), near=0.01)

    def render(self, samples: int, max_depth: int, seed: int, scene: Scene | None = None) -> Tensor:
        """An image [H, W, 3] of linear light, the surroundings included."""
        scene = self.scene if scene is None else scene
        behind = "environment" if scene.environment is not None else None
        shot = render_path(scene, self.camera, samples, max_depth, seed, background=behind, tone_mapping=linear)
        image, through = shot.image, 1 - shot.mask if shot.transmittance is None else shot.transmittance
        for light in scene.lights:
            if isinstance(light, AmbientLight):
                image = image + through * light.color
        return image[0]

    def scores(self, depth: int, samples: int, runs: int = 32) -> tuple[np.ndarray, np.ndarray]:
        """Differences to its image in standard errors [H, W, 3], and those errors."""
        images = torch.stack([self.render(samples, depth, 1000 + i).detach().double() for i in range(runs)])
        mean, variance = images.mean(0).numpy(), images.var(0).numpy() / runs
        expected, error = self.data[f"depth{depth}.image"], self.data[f"depth{depth}.stderr"]
        rounding = (1e-5 * expected.max()) ** 2
        total = np.sqrt(error**2 + variance + rounding)
        return (mean - expected) / total, total


def hold(z: np.ndarray, error: np.ndarray) -> None:
    lit = error > 2 * error.min()  # but for pixels without noise, such as those that see nothing
    z, error = z[lit], error[lit]
    assert 0.8 < (z**2).mean() < 1.25
    assert np.abs(z).max() < 8
    assert abs((z * error).sum()) < 4 * np.sqrt((error**2).sum())  # the mean of the image
