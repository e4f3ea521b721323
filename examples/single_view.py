"""A network that predicts shape and camera from a picture: `python examples/single_view.py --out single-view-out`.

It is trained with silhouettes of procedural shapes (`single_view_shapes.py`), which workers render on demand, many
different meshes in one call. The encoder moves the vertices of a sphere so that its silhouettes, from the picture's
direction and from two others, match those of the shape, and predicts where the picture was taken from. The folder
receives shapes.png (held-out pictures, and the shapes predicted from them), curve.png, metrics.json and model.pt.

Source: Liu et al. 2019, "Soft Rasterizer"; Chen et al. 2019, "Learning to Predict 3D Objects with an
Interpolation-based Differentiable Renderer". Here shapes are symmetric, and cameras are predicted too.
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from single_view_measure import MeanShape, occupancy, overlap
from single_view_shapes import FAMILIES, SIZE, VIEWS, Batch, cameras, photograph, shape
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lumigrad as lg
from lumigrad.fit import (
    adjacent_faces,
    bending_loss,
    edge_length_loss,
    laplacian_energy,
    mirror_vertices,
    unique_edges,
    write_metrics,
)
from lumigrad.io import save_image
from lumigrad.render import render_mesh
from lumigrad.scene import Mesh, icosphere

SHOWN = 8  # held-out shapes in the picture
HELD_OUT = 10**6  # number of the first held-out shape
SIGMA = 1e-4  # of soft silhouettes: a squared distance; half the picture's side is 1
# Weights of the losses, relative to that of silhouettes.
CAMERA, LAPLACIAN, EDGES, FLATNESS = 0.2, 0.05, 0.3, 0.01
Draw = Callable[[Tensor, Tensor], Tensor]


class Template:
    """A sphere whose vertices can move, symmetric in x = 0."""

    def __init__(self, level: int = 3) -> None:
        ball = icosphere(level, radius=0.6)
        self.positions, self.faces = ball.positions, ball.faces
        self.partners = mirror_vertices(ball.positions)
        self.topology = lg.edge_topology(ball.faces)
        self.edges, self.pairs = unique_edges(ball.faces), adjacent_faces(ball.faces)

    def moved(self, offsets: Tensor) -> Tensor:
        """Positions [B, V, 3] of the sphere with offsets [B, V, 3], of which only the symmetric part counts."""
        mirrored = offsets[:, self.partners] * offsets.new_tensor([-1.0, 1.0, 1.0])
        return self.positions + 0.5 * (offsets + mirrored)

    def roughness(self, positions: Tensor) -> Tensor:
        """The regularisers: Laplacian, edge lengths, flatness."""
        flat = positions.transpose(0, 1).flatten(1)  # [V, 3 B]: the Laplacian of each coordinate of each shape
        laplacian = laplacian_energy(flat, self.edges) / len(positions)
        bending = bending_loss(positions, self.faces, self.pairs)
        return LAPLACIAN * laplacian + EDGES * edge_length_loss(positions, self.edges) + FLATNESS * bending

    def silhouettes(self, kind: str) -> Draw:
        """The function that draws [N, H, W] from clip-space positions [N, V, 4]: "soft" or "antialiased"."""

        def soft(pos: Tensor) -> Tensor:
            return lg.soft_silhouette(pos, self.faces, (SIZE, SIZE), SIGMA)[..., 0]

        def antialiased(pos: Tensor) -> Tensor:
            frags = lg.rasterize(pos, self.faces, (SIZE, SIZE), derivatives=False)
            return lg.antialias((frags.tri >= 0)[..., None].to(pos), frags, pos, self.faces, self.topology)[..., 0]

        return {"soft": soft, "antialiased": antialiased}[kind]


class Network(nn.Module):
    """From pictures [B, 2, 64, 64] to offsets of vertices [B, V, 3] and the camera's place [B, 3].

    The place is (cos, sin) of the azimuth and the elevation as a part of 90 degrees.
    """

    def __init__(self, vertices: int, width: int = 24) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 2
        for factor in (1, 2, 4, 6):
            layers += [nn.Conv2d(channels, factor * width, 3, 2, 1), nn.BatchNorm2d(factor * width), nn.ReLU()]
            channels = factor * width
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 16, 256), nn.ReLU())
        self.shape = nn.Sequential(nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3 * vertices))
        self.camera = nn.Sequential(nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 3))
        nn.init.normal_(self.shape[-1].weight, std=1e-3)
        nn.init.zeros_(self.shape[-1].bias)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        code = self.encoder(pictures)
        return self.shape(code).unflatten(-1, (-1, 3)), self.camera(code)


def place(azimuths: Tensor, elevations: Tensor) -> Tensor:
    """Cameras as predicted by the network [B, 3]."""
    angle = torch.deg2rad(azimuths)
    return torch.stack([angle.cos(), angle.sin(), elevations / 90], -1)


def angles(found: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted azimuths and elevations in degrees."""
    return torch.rad2deg(torch.atan2(found[:, 1], found[:, 0])), 90 * found[:, 2]


def losses(network: nn.Module, template: Template, draw: Draw, batch: Batch) -> tuple[Tensor, float]:
    """The total loss, and its silhouette term: 1 - overlap, mean over views."""
    offsets, found = network(batch.pictures)
    positions = template.moved(offsets)
    pos = batch.camera.project(positions.repeat_interleave(VIEWS, 0))
    ours, theirs = draw(pos), batch.masks.flatten(0, 1)
    both = (ours * theirs).sum((1, 2))
    missed = 1 - (both / ((ours + theirs).sum((1, 2)) - both)).mean()
    camera = (found - place(batch.azimuths[:, 0], batch.elevations[:, 0])).square().sum(-1).mean()
    return missed + CAMERA * camera + template.roughness(positions), float(missed.detach())


def occupancies(numbers: Iterable[int]) -> Tensor:
    """Voxels [N, z, y, x] of shapes, one at a time, since their meshes differ."""
    meshes = [shape(number).mesh() for number in numbers]
    return torch.cat([occupancy(mesh.positions[None], mesh.faces) for mesh in meshes])


class Measured:
    """Held-out shapes, and how well they are recovered."""

    def __init__(self, count: int) -> None:
        self.batch = photograph(list(range(HELD_OUT, HELD_OUT + count)))
        self.truth = occupancies(range(HELD_OUT, HELD_OUT + count))

    @torch.no_grad()
    def overlaps(self, network: nn.Module, template: Template) -> tuple[Tensor, Tensor, Tensor]:
        """Overlaps of voxels [B] and of silhouettes [B], and the error [B] of the camera's axis in degrees."""
        network.eval()
        offsets, found = network(self.batch.pictures)
        network.train()
        positions = template.moved(offsets)
        seen = template.silhouettes("antialiased")(self.batch.camera.project(positions.repeat_interleave(VIEWS, 0)))
        silhouettes = overlap(seen, self.batch.masks.flatten(0, 1)).view(-1, VIEWS).mean(1)
        ours = cameras(*angles(found)).position
        theirs = cameras(self.batch.azimuths[:, 0], self.batch.elevations[:, 0]).position
        cosine = torch.nn.functional.cosine_similarity(ours, theirs).clamp(-1, 1)
        return overlap(occupancy(positions, template.faces), self.truth), silhouettes, torch.rad2deg(cosine.acos())

    @torch.no_grad()
    def of_mean_shape(self, mean: MeanShape) -> tuple[Tensor, Tensor]:
        """Overlaps of voxels and of silhouettes [B] if one mean shape stands for all."""
        voxels = overlap(mean.occupancy.expand_as(self.truth), self.truth)
        seen = render_mesh(mean.mesh, self.batch.camera).mask[..., 0]
        return voxels, overlap(seen, self.batch.masks.flatten(0, 1)).view(-1, VIEWS).mean(1)


def train(
    network: Network, template: Template, measured: Measured, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """The losses of all steps, and the overlaps of voxels on held-out shapes at intervals."""
    count = arguments.steps * arguments.batch
    loader = DataLoader(
        range(count),
        arguments.batch,
        collate_fn=photograph,
        num_workers=arguments.workers,
        multiprocessing_context=(arguments.start or "fork") if arguments.workers else None,
    )
    run = torch.compile(network) if arguments.compile else network
    draw = template.silhouettes(arguments.silhouettes)
    optimizer = torch.optim.Adam(network.parameters(), arguments.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, arguments.rate, max(2, arguments.steps))
    history: dict[str, list[float]] = {"loss": [], "step": [], "voxel_iou": []}
    for step, batch in enumerate(loader, start=1):
        loss, missed = losses(run, template, draw, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        history["loss"].append(missed)
        if step % arguments.every == 0 or step == arguments.steps:
            voxels, silhouettes, degrees = measured.overlaps(network, template)
            history["step"].append(step)
            history["voxel_iou"].append(float(voxels.mean()))
            print(
                f"step {step}: silhouettes missed {missed:.3f}; held out: voxels {voxels.mean():.3f}, "
                f"silhouettes {silhouettes.mean():.3f}, camera {degrees.median():.0f} degrees off",
                flush=True,
            )
    return history


def summary(measured: Measured, network: Network, template: Template, mean: MeanShape) -> dict[str, Any]:
    """The contents of metrics.json."""
    voxels, silhouettes, degrees = measured.overlaps(network, template)
    mean_voxels, mean_silhouettes = measured.of_mean_shape(mean)
    family = measured.batch.numbers % len(FAMILIES)
    return {
        "held_out_shapes": len(voxels),
        "voxel_iou": float(voxels.mean()),
        "voxel_iou_of_mean_shape": float(mean_voxels.mean()),
        "silhouette_iou": float(silhouettes.mean()),
        "silhouette_iou_of_mean_shape": float(mean_silhouettes.mean()),
        "camera_degrees_median": float(degrees.median()),
        "families": {
            name: {
                "voxel_iou": float(voxels[family == n].mean()),
                "voxel_iou_of_mean_shape": float(mean_voxels[family == n].mean()),
                "camera_degrees_median": float(degrees[family == n].median()),
            }
            for n, name in enumerate(FAMILIES)
        },
    }


@torch.no_grad()
def picture(measured: Measured, network: Network, template: Template, path: Path, count: int = SHOWN) -> None:
    """Held-out pictures; predicted and true silhouettes, from the predicted camera and from another side; the predicted
    shape.
    """
    batch = measured.batch
    network.eval()
    offsets, found = network(batch.pictures[:count])
    positions = template.moved(offsets)
    sides = [
        torch.stack([ours, given[:count, 1]], 1).flatten()
        for ours, given in zip(angles(found), (batch.azimuths, batch.elevations), strict=True)
    ]
    camera = cameras(*sides)
    drawn = template.silhouettes("antialiased")(camera.project(positions.repeat_interleave(2, 0)))
    drawn, true = drawn.view(count, 2, SIZE, SIZE), batch.masks[:count]
    grey, covered = batch.pictures[:count].unbind(1)
    tiles = [grey + 1 - covered, 1 - drawn[:, 0], 1 - true[:, 0], 1 - drawn[:, 1], 1 - true[:, 1]]
    shaded = render_mesh(Mesh(positions, template.faces), camera[1::2]).over(1.0)
    rows = torch.cat([*(tile[..., None].expand(-1, -1, -1, 3) for tile in tiles), shaded], 2)
    pairs = torch.cat([rows[0::2], rows[1::2]], 2).flatten(0, 1)
    save_image(pairs.repeat_interleave(2, 0).repeat_interleave(2, 1).clamp(0, 1), path)


def curve(history: dict[str, list[float]], path: Path) -> None:
    """The silhouette loss in training, and the overlap of voxels on held-out shapes."""
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(range(1, len(history["loss"]) + 1), history["loss"], lw=0.6, label="1 - silhouette IoU, training")
    axes.plot(history["step"], history["voxel_iou"], marker="o", ms=3, label="voxel IoU, held out")
    axes.set(xlabel="step", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=100)


def processor_seconds() -> float:
    """The processor seconds of this process and of finished workers."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def main(options: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="of training (1000)")
    parser.add_argument("--batch", type=int, default=32, help="shapes in a step (32)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (0.002)")
    parser.add_argument(
        "--silhouettes", choices=("soft", "antialiased"), default="antialiased", help="of what is found (antialiased)"
    )
    parser.add_argument("--held-out", type=int, default=128, help="shapes to measure on (128)")
    parser.add_argument("--every", type=int, default=100, help="steps between measurements (100)")
    parser.add_argument("--workers", type=int, default=1, help="processes that render pictures; 0 for none (1)")
    parser.add_argument("--start", choices=("fork", "spawn"), help="how workers start (fork)")
    parser.add_argument("--threads", type=int, default=1, help="of the process that trains (1)")
    parser.add_argument("--compile", action="store_true", help="compile the network")
    parser.add_argument("--seed", type=int, default=0, help="of the network's weights (0)")
    parser.add_argument("--out", type=Path, default=Path("single-view-out"), help="folder for the results")
    arguments = parser.parse_args(options)
    if arguments.held_out < SHOWN:
        parser.error(f"--held-out: expected at least {SHOWN}, which the picture shows")
    if arguments.steps * arguments.batch > HELD_OUT:
        parser.error(f"--steps, --batch: expected at most {HELD_OUT} shapes; those after are held out")
    if arguments.start and not arguments.workers:
        parser.error("--start: there are no workers")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.out.mkdir(parents=True, exist_ok=True)
    template, measured = Template(), Measured(arguments.held_out)
    network = Network(len(template.positions))
    history = train(network, template, measured, arguments)
    mean = MeanShape(occupancies(range(256)))
    numbers = summary(measured, network, template, mean)
    picture(measured, network, template, arguments.out / "shapes.png")
    curve(history, arguments.out / "curve.png")
    torch.save(network.state_dict(), arguments.out / "model.pt")
    numbers |= {"steps": arguments.steps, "processor_seconds": processor_seconds(), "curve": history}
    write_metrics(numbers, arguments.out / "metrics.json")
    print(
        f"held-out shapes: voxel IoU {numbers['voxel_iou']:.3f} (mean shape {numbers['voxel_iou_of_mean_shape']:.3f}), "
        f"silhouette IoU {numbers['silhouette_iou']:.3f} ({numbers['silhouette_iou_of_mean_shape']:.3f}), camera "
        f"{numbers['camera_degrees_median']:.1f} degrees off, {numbers['processor_seconds']:.0f} s of processor time"
    )
    print(f"results in {arguments.out}: shapes.png, curve.png, metrics.json, model.pt")


if __name__ == "__main__":
    main()
