"""Neural shading: spheres that carry features instead of colours, made into pictures by a small convolutional network.

Geometry, features and network are learnt together from photographs whose cameras are known, and compared on held-out
photographs with plain coloured spheres that were fitted for the same time (or the same number of steps).

Usage:
    python examples/neural_shading.py                                   # a glossy creature, rendered on the spot
    python examples/neural_shading.py --dataset FOLDER --size 240       # transforms.json or a COLMAP model

Source: Lassner and Zollhoefer 2021, "Pulsar: Efficient Sphere-based Neural Rendering", sections 4 and 5.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import lumigrad as lg
from lumigrad.fit import write_metrics
from lumigrad.fit.splats import (
    CloneSplitPrune,
    Model,
    Photo,
    Schedule,
    Spheres,
    SplatState,
    evaluate,
    first_points,
    fit_splats,
    focus,
    load_photos,
)
from lumigrad.io import load_dataset, save_image
from lumigrad.render import render
from lumigrad.scene import EnvironmentLight, Mesh, PBRMaterial, PerspectiveCamera, PointCloud, Scene, sky
from lumigrad.scene.cameras.conventions import to_transforms
from lumigrad.scene.shapes.procedural import creature

FIRST_RATE, LAST_RATE = 1e-3, 1e-4  # of the network


class Shader(nn.Module):
    """A small U-Net from rendered features [1, C, H, W], of which the first three are colours, to an image.

    It works at a half and at a quarter of the resolution; its output, initially zero, is added to the colours.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.ReLU(), conv(width))
        self.below = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), conv(width), conv(width))
        self.leave = conv(width)
        self.paint = nn.Conv2d(width, 12, 3, padding=1)  # three colours of four pixels
        nn.init.zeros_(self.paint.weight)
        nn.init.zeros_(self.paint.bias)

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        even = functional.pad(features, (0, width % 2, 0, height % 2), mode="replicate")
        fine = self.enter(even)
        coarse = functional.interpolate(self.below(fine), size=fine.shape[-2:], mode="bilinear")
        added = functional.pixel_shuffle(self.paint(self.leave(fine + coarse)), 2)
        return features[:, :3] + added[..., :height, :width]


def conv(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())


class NeuralSpheres(Spheres):
    """Soft spheres with features in addition to colours, and the network that shades them.

    Args:
        channels: of the features, colours included.
        width: channels inside the network.
    """

    def __init__(self, extent: float, channels: int, width: int) -> None:
        super().__init__(extent)
        self.channels = channels
        self.rates["features"] = 5e-3
        self.shader = Shader(channels + 4, width)  # and opacity, and the ray's direction
        self.known: dict[int, tuple[PerspectiveCamera, Tensor]] = {}
        self.optimizer = torch.optim.Adam(self.shader.parameters(), FIRST_RATE)

    def start(self, cloud: PointCloud) -> dict[str, Tensor]:
        return {**super().start(cloud), "features": torch.zeros(len(cloud), self.channels - 3)}

    def feature_map(self, parameters: dict[str, Tensor], camera: PerspectiveCamera, progress: float) -> lg.Splats:
        """The image of the spheres before the network."""
        features = torch.cat([parameters["constant"], parameters["features"]], 1)
        return self.splat(parameters, features, camera, 0.0, progress)  # lg.spheres

    def draw(
        self, parameters: dict[str, Tensor], camera: PerspectiveCamera, background: float, progress: float
    ) -> Tensor:
        seen = self.feature_map(parameters, camera, progress)
        stack = torch.cat([seen.image, seen.alpha[..., None], self.directions(camera)], -1)
        return self.shader(stack.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def directions(self, camera: PerspectiveCamera) -> Tensor:
        """The directions of the camera's rays, cached because the same few cameras recur."""
        if id(camera) not in self.known:
            self.known[id(camera)] = camera, camera.rays()[1]  # holding the camera keeps its id from being reused
        return self.known[id(camera)][1]

    def step(self, progress: float) -> None:
        """Updates the network, whose gradients were computed with those of the spheres."""
        for group in self.optimizer.param_groups:
            group["lr"] = FIRST_RATE * (LAST_RATE / FIRST_RATE) ** progress
        self.optimizer.step()
        self.optimizer.zero_grad()


def ground(side: float = 30.0, texels: int = 1024) -> Mesh:
    """A square with a cloudy pattern, beneath the creature's feet."""
    corners = torch.tensor([[-1.0, 1.0], [1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])  # x, z
    positions = torch.stack([0.5 * side * corners[:, 0], torch.full((4,), -0.95), 0.5 * side * corners[:, 1]], 1)
    random = torch.Generator().manual_seed(1)
    pattern = torch.zeros(1, 1, texels, texels)
    for cells in (16, 64, 256):
        noise = torch.rand(1, 1, cells, cells, generator=random) - 0.5
        pattern += functional.interpolate(noise, size=(texels, texels), mode="bicubic") * (16 / cells) ** 0.3
    dark, light = torch.tensor([0.16, 0.22, 0.12]), torch.tensor([0.72, 0.66, 0.5])
    texture = torch.lerp(dark, light, (0.5 + 0.8 * pattern[0].permute(1, 2, 0)).clamp(0, 1))
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    material = PBRMaterial(base_color_texture=texture, roughness=0.9)
    return Mesh(positions, faces, 0.5 + 0.5 * corners, materials=(material,))


def photograph_creature(folder: Path, size: int, views: int = 48) -> None:
    """Writes a data set: a glossy creature under a sky, from all around."""
    mesh = creature(5)
    mesh = replace(mesh, materials=(PBRMaterial(base_color_texture=mesh.texture, roughness=0.25),))
    scene = Scene([mesh, ground()], environment=EnvironmentLight(sky(64)))
    turn = torch.arange(views) * 360.0 * 0.381966  # the golden angle: no two views alike
    camera = PerspectiveCamera.orbit(turn, torch.linspace(32, 65, views), 4.2, 42.0, (size, size), target=(0, -0.2, 0))
    names = [f"images/{i:03d}.png" for i in range(views)]
    with torch.no_grad():
        for i, name in enumerate(names):
            image = render(scene, camera[i], background=(0.1, 0.1, 0.1), supersampling=2).image[0]
            save_image(image, folder / name)
    (folder / "transforms.json").write_text(json.dumps(to_transforms(camera, names)))


def fit(model: Model, options: argparse.Namespace, cloud: PointCloud, photos: list[Photo], extent: float) -> SplatState:
    """Fits either kind of spheres under the same conditions; times are processor seconds."""
    schedule = Schedule(options.iterations, None if options.iterations else options.minutes, seed=options.seed)
    state = SplatState.start(model.start(cloud), options.seed)
    strategy = CloneSplitPrune(extent, options.limit)
    begin = time.process_time()

    def on_step(now: SplatState) -> bool:
        if now.iteration % 100 == 0:
            print(f"  step {now.iteration}, {now.seconds:.0f} s, {len(now.rows)} spheres, loss {now.losses[-1]:.4f}")
        if isinstance(model, NeuralSpheres):
            model.step(schedule.progress(now))
        # Processor time, so that other programs on the machine do not affect the comparison.
        now.seconds = time.process_time() - begin
        return True

    return fit_splats(photos, state, model, strategy, schedule, on_step=on_step)


@torch.no_grad()
def picture(fits: dict[str, tuple[Model, SplatState]], photos: list[Photo], path: Path) -> None:
    """A row for each photograph: the photograph, coloured spheres, neural shading, and three of its features."""
    rows = []
    for photo in photos:
        tiles = [photo.image[0] * photo.covered[0]]
        tiles += [model.draw(state.rows.parameters, photo.camera, 0.0, 1.0)[0] for model, state in fits.values()]
        model, state = fits["neural"]
        assert isinstance(model, NeuralSpheres)
        learnt = model.feature_map(state.rows.parameters, photo.camera, 1.0).image[0, ..., 3:6]
        tiles.append(0.5 + 0.25 * (learnt - learnt.mean((0, 1))) / learnt.std((0, 1)))
        rows.append(torch.cat([tile.clamp(0, 1) for tile in tiles], 1))
    save_image(torch.cat(rows), path)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compares neural shading of spheres with coloured spheres.")
    parser.add_argument("--dataset", type=Path, help="with transforms.json or a COLMAP model (default: rendered)")
    parser.add_argument("--out", type=Path, default=Path("neural-shading-out"), help="folder for the results")
    parser.add_argument("--minutes", type=float, default=2.0, help="of the processor's time, for each of the two (2)")
    parser.add_argument("--iterations", type=int, help="steps for each of the two, instead of minutes")
    parser.add_argument("--size", type=int, default=192, help="rows of the pictures, roughly; photographs are reduced")
    parser.add_argument("--channels", type=int, default=8, help="features of a sphere, its colour included (8)")
    parser.add_argument("--width", type=int, default=16, help="channels inside the network (16)")
    parser.add_argument("--points", type=int, default=8_000, help="spheres to begin with (8000)")
    parser.add_argument("--limit", type=int, default=10_000, help="most spheres (10000)")
    parser.add_argument("--views", type=int, default=48, help="photographs of the rendered creature (48)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    folder = options.dataset
    if folder is None:
        folder = options.out / "dataset"
        photograph_creature(folder, options.size, options.views)
    data = load_dataset(folder)
    reduce = max(1, round(data.cameras[0].size[0] / options.size))
    photos, held_out = (load_photos(data, part, reduce=reduce) for part in data.split())
    extent = focus(photos)[1]
    cloud = first_points(data, photos, options.points, torch.Generator().manual_seed(options.seed))
    models: dict[str, Model] = {
        "colours": Spheres(extent),
        "neural": NeuralSpheres(extent, options.channels, options.width),
    }
    fits: dict[str, tuple[Model, SplatState]] = {}
    numbers: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}}
    numbers["image_size"] = list(held_out[0].camera.size)
    for name, model in models.items():
        print(name)
        state = fit(model, options, cloud, photos, extent)
        fits[name] = model, state
        numbers[name] = {
            **evaluate(model, state.rows.parameters, held_out, 0.0),
            "fitted": evaluate(model, state.rows.parameters, photos[::6], 0.0),
            "fitted_at_first": evaluate(model, model.start(cloud), photos[::6], 0.0),
            "spheres": len(state.rows), "steps": state.iteration, "seconds": state.seconds,
        }  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    write_metrics(numbers, options.out / "metrics.json")
    picture(fits, held_out[:4], options.out / "comparison.png")
    for name in fits:
        row = numbers[name]
        print(
            f"{name}: held out {row['psnr_db']:.2f} dB, SSIM {row['ssim']:.3f}; fitted {row['fitted']['psnr_db']:.2f}"
            f" dB; {row['spheres']} spheres, {row['steps']} steps, {row['seconds']:.0f} s"
        )
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
