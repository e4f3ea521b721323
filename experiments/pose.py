"""Pose of a cube from an image (Laine et al. 2020, section 4.4): gradients alone, and gradients after a search.

The faces of a cube have six colours, and its target rotation is random. From a random start, the rotation, a
quaternion, is found by minimising the mean squared difference of the images. There are three methods; all perturb the
pose, with a strength that falls geometrically from 1 (a uniformly random rotation) to 0.003:

- adam: every step of Adam uses a perturbed pose;
- greedy: the first half of the steps tries perturbed poses and keeps the best; Adam continues from it, unperturbed;
- symmetric: as greedy, but half of the trial poses are also rotated by one of the cube's 24 symmetries, since a local
  minimum often has the right outline and the wrong colours.

All trials of a method are images of one batch and independent of each other.
"""

from __future__ import annotations

import argparse
import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

import lumigrad
from experiments.common import Run, add_device, device_of, parser

METHODS = ["adam", "greedy", "symmetric"]
PUBLISHED = {"adam": 48.62, "greedy": 22.49, "symmetric": 2.61}
NOISE = (1.0, 0.003)
# Adam's learning rates, which fall geometrically over its steps: from a random start, and from the result of a search.
RATE, RATE_AFTER_SEARCH = (5e-2, 1e-4), (1e-2, 1e-4)
SAVED_EVERY = 100
CHUNK_PIXELS = 250_000  # of the images drawn at once: they fit the cache
COLORS = [[0.9, 0.2, 0.2], [0.2, 0.8, 0.8], [0.2, 0.7, 0.2], [0.8, 0.3, 0.8], [0.2, 0.3, 0.9], [0.9, 0.8, 0.2]]
DISTANCE, FIELD_OF_VIEW_DEGREES, HALF_EDGE = 4.0, 45.0, 0.7


# ---- Rotations: quaternions [..., 4], scalar first ------------------------------------------------------------


def random_rotations(count: int, generator: torch.Generator) -> Tensor:
    """Uniformly distributed [count, 4]."""
    return torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1)


def product(p: Tensor, q: Tensor) -> Tensor:
    """The rotation q, then p."""
    a, u = p[..., :1], p[..., 1:]
    b, v = q[..., :1], q[..., 1:]
    u, v = torch.broadcast_tensors(u, v)
    return torch.cat([a * b - (u * v).sum(-1, keepdim=True), a * v + b * u + torch.linalg.cross(u, v)], -1)


def rotate(q: Tensor, points: Tensor) -> Tensor:
    """points [..., V, 3] rotated by the unit quaternions q [..., 4]."""
    w, axis = q[..., None, :1], q[..., None, 1:]
    axis, points = torch.broadcast_tensors(axis, points)
    twice: Tensor = 2 * torch.linalg.cross(axis, points)
    turned: Tensor = points + w * twice + torch.linalg.cross(axis, twice)
    return turned


def power(q: Tensor, strength: float) -> Tensor:
    """The rotation about the same axis, by `strength` times the angle, which is at most 180 degrees."""
    q = torch.where(q[..., :1] < 0, -q, q)
    half = torch.atan2(q[..., 1:].norm(dim=-1, keepdim=True), q[..., :1])
    axis = torch.nn.functional.normalize(q[..., 1:], dim=-1)
    return torch.cat([(half * strength).cos(), axis * (half * strength).sin()], -1)


def angle(p: Tensor, q: Tensor) -> Tensor:
    """Degrees between rotations, 0 to 180."""
    p, q = p.double(), q.double()
    inverse = q * q.new_tensor([1.0, -1.0, -1.0, -1.0])
    between = torch.nn.functional.normalize(product(p, inverse), dim=-1)
    return torch.rad2deg(2 * torch.atan2(between[..., 1:].norm(dim=-1), between[..., 0].abs()))


def cube_symmetries() -> Tensor:
    """The rotations that map a cube onto itself [24, 4]: the normalised sums of axes of quaternions, up to sign."""
    candidates = torch.tensor(list(itertools.product([-1.0, 0.0, 1.0], repeat=4)))
    # All multiples of one, two and four axes of the four are such rotations, those of three are not.
    candidates = candidates[((candidates != 0).sum(-1) != 3) & (candidates != 0).any(-1)]
    first = candidates.gather(1, (candidates != 0).int().argmax(1, keepdim=True))
    return torch.nn.functional.normalize(candidates[first[:, 0] > 0], dim=-1)


# ---- Images -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cube:
    """A cube with faces of one colour each: four vertices to a face, so that edges between colours are outlines."""

    vertices: Tensor
    faces: Tensor
    colors: Tensor
    topology: Tensor

    def images(self, rotations: Tensor, size: int, window: int | None = None) -> Tensor:
        """[N, size, size, 3] in the rotations [N, 4], on white; or only `window` x `window` pixels around their middle.

        Since each face has one colour, only the outlines of `antialias` depend on the rotation: nothing else has a
        gradient.
        """
        window = window or size
        eye = rotate(rotations, self.vertices) - rotations.new_tensor([0.0, 0.0, DISTANCE])
        focal = size / window / math.tan(math.radians(FIELD_OF_VIEW_DEGREES) / 2)
        x, y, z = eye.unbind(-1)
        near, far = DISTANCE - 2, DISTANCE + 2
        depth = ((far + near) * z + 2 * far * near) / (near - far)
        pos = torch.stack([focal * x, focal * y, depth, -z], -1)
        # Outside the cube, attributes are zero: they are the difference from white.
        missing = 1 - self.colors
        frags = lumigrad.rasterize(pos.detach(), self.faces, (window, window), derivatives=False, attributes=missing)
        shaded = 1 - frags.attributes
        image: Tensor = lumigrad.antialias(shaded, frags, pos, self.faces, topology=self.topology)
        return image


def window_of(size: int) -> int:
    """The number of pixels in the middle of an image that show the cube in some rotation; all others are white."""
    radius = HALF_EDGE * math.sqrt(3)
    outline = radius / math.sqrt(DISTANCE**2 - radius**2) / math.tan(math.radians(FIELD_OF_VIEW_DEGREES) / 2)
    margin = math.floor((1 - outline) * size / 2) - 1  # one pixel is for antialiasing
    return size - 2 * max(0, margin)


def cube(device: str) -> Cube:
    corners: list[list[float]] = []
    faces: list[list[int]] = []
    for axis, sign in itertools.product(range(3), (-1.0, 1.0)):
        first = len(corners)
        for s, t in ((-1.0, -1.0), (sign, -sign), (1.0, 1.0), (-sign, sign)):
            corner = [0.0, 0.0, 0.0]
            corner[axis], corner[(axis + 1) % 3], corner[(axis + 2) % 3] = sign, s, t
            corners.append([HALF_EDGE * value for value in corner])
        faces += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
    colors = torch.tensor(COLORS).repeat_interleave(4, 0).to(device)
    tri = torch.tensor(faces, dtype=torch.int32, device=device)
    return Cube(torch.tensor(corners, device=device), tri, colors, lumigrad.edge_topology(tri))


# ---- Fitting ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    trials: int
    steps: int
    size: int
    device: str


class Fit:
    """All trials of one method. The `state` holds the values that change from step to step, and can be saved."""

    def __init__(self, method: str, settings: Settings, seed: int) -> None:
        self.method, self.settings = method, settings
        # The same targets and starts for all methods.
        generator = torch.Generator().manual_seed(seed)
        device = settings.device
        self.cube = cube(device)
        self.symmetries = cube_symmetries()
        self.target = random_rotations(settings.trials, generator).to(device)
        self.start = random_rotations(settings.trials, generator).to(device)
        self.window = window_of(settings.size)
        chunk = max(1, CHUNK_PIXELS // self.window**2)
        self.chunks = [slice(k, k + chunk) for k in range(0, settings.trials, chunk)]
        with torch.no_grad():
            self.reference = torch.cat([self._images(self.target[chunk]) for chunk in self.chunks])
        self.generator = torch.Generator().manual_seed(seed + 1)
        self.step = 0
        self.pose = self.start.clone().requires_grad_()
        self.best = self.start.clone()
        self.best_loss = self.start.new_full((settings.trials,), math.inf)
        self.optimizer = torch.optim.Adam([self.pose], lr=RATE[0])
        self.curve: list[list[float]] = []

    @property
    def searching(self) -> int:
        """The number of search steps; Adam takes the rest."""
        return 0 if self.method == "adam" else self.settings.steps // 2

    def advance(self) -> None:
        """One step: one image of every trial."""
        if self.step < self.searching:
            self._try()
        else:
            self._descend()
        self.step += 1
        if self.step % max(1, self.settings.steps // 100) == 0:
            self.curve.append([self.step, angle(self.result(), self.target).mean().item()])

    def result(self) -> Tensor:
        """The final rotations of the method [trials, 4]."""
        return self.best if self.step <= self.searching else self.pose.detach()

    def errors(self) -> dict[str, list[float]]:
        """The errors of every trial in degrees: to the target, and to the nearest of the 24 poses that differ only in
        colours.
        """
        result, symmetries = self.result(), self.symmetries.to(self.target)
        alike = product(self.target[:, None], symmetries)
        return {
            "degrees": angle(result, self.target).tolist(),
            "degrees up to symmetry": angle(result[:, None], alike).amin(1).tolist(),
        }

    def state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "pose": self.pose.detach(),
            "best": self.best,
            "best_loss": self.best_loss,
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "curve": self.curve,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.step, self.curve = state["step"], state["curve"]
        self.best, self.best_loss = state["best"].to(self.best), state["best_loss"].to(self.best)
        self.pose.data.copy_(state["pose"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def _images(self, rotations: Tensor) -> Tensor:
        """The part of the images that is not always white."""
        return self.cube.images(rotations, self.settings.size, self.window)

    @torch.no_grad()
    def _losses(self, rotations: Tensor) -> Tensor:
        """Sums of squared differences [trials]."""
        losses = []
        for chunk in self.chunks:
            difference = self._images(rotations[chunk]).sub_(self.reference[chunk])
            losses.append(difference.square_().sum((1, 2, 3)))
        return torch.cat(losses)

    def _noise(self, part: float) -> Tensor:
        """Perturbations [trials, 4] when a share `part` of the steps is done."""
        noise = random_rotations(self.settings.trials, self.generator)
        return power(noise, _between(NOISE, part)).to(self.target)

    @torch.no_grad()
    def _try(self) -> None:
        tried = product(self._noise(self.step / max(1, self.searching - 1)), self.best)
        if self.method == "symmetric":
            chosen = self.symmetries[torch.randint(24, (len(tried),), generator=self.generator)]
            turned = torch.rand(len(tried), 1, generator=self.generator) < 0.5
            identity = chosen.new_tensor([1.0, 0.0, 0.0, 0.0])
            tried = product(tried, torch.where(turned, chosen, identity).to(tried))
        losses = self._losses(tried)
        better = losses < self.best_loss
        self.best = torch.where(better[:, None], tried, self.best)
        self.best_loss = torch.where(better, losses, self.best_loss)
        self.pose.copy_(self.best)

    def _descend(self) -> None:
        part = (self.step - self.searching) / max(1, self.settings.steps - self.searching - 1)
        rate = RATE_AFTER_SEARCH if self.searching else RATE
        self.optimizer.param_groups[0]["lr"] = _between(rate, part)
        noise = self._noise(part) if self.method == "adam" else None
        self.optimizer.zero_grad()
        for chunk in self.chunks:
            pose = torch.nn.functional.normalize(self.pose[chunk], dim=-1)
            image = self._images(pose if noise is None else product(noise[chunk], pose))
            # The gradient of half the sum of squared differences. Adam is invariant to scale, so the sum over trials
            # and pixels is equivalent to each trial's own mean.
            image.backward(image.detach() - self.reference[chunk])
        self.optimizer.step()
        with torch.no_grad():
            self.pose.copy_(torch.nn.functional.normalize(self.pose, dim=-1))


def _between(ends: tuple[float, float], part: float) -> float:
    """Geometric interpolation from the first value to the second."""
    return ends[0] * math.exp(part * math.log(ends[1] / ends[0]))


def experiment(args: argparse.Namespace) -> dict[str, Any]:
    """Fits with every method, each resumed where it stopped."""
    run = Run("pose", args)
    settings = Settings(
        args.trials or (24 if args.quick else 100),
        args.steps or (1200 if args.quick else 10_000),
        args.size or (64 if args.quick else 256),
        device_of(args),
    )
    states: dict[str, Any] = run.load_state() or {}
    fits = {}
    for method in METHODS:
        fit = fits[method] = Fit(method, settings, args.seed)
        if method in states:
            fit.restore(states[method])
        while fit.step < settings.steps:
            fit.advance()
            if fit.step % SAVED_EVERY == 0 or fit.step == settings.steps:
                states[method] = fit.state()
                run.save_state(**states)
            if fit.step % max(1, settings.steps // 10) == 0:
                print(f"{method}: step {fit.step}, mean error {fit.curve[-1][1]:.2f} degrees", flush=True)
    results = {"settings": vars(settings) | {"quick": args.quick, "seed": args.seed}, "methods": {}}
    for method, fit in fits.items():
        errors = fit.errors()
        means = {f"mean {name}": sum(values) / len(values) for name, values in errors.items()}
        results["methods"][method] = means | {"published": PUBLISHED[method]} | errors | {"curve": fit.curve}
        values = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
        print(f"{method}: {values} (published mean: {PUBLISHED[method]})")
    run.save_json(results)
    run.save_figure(_plots(results), "pose.png")
    run.save_figure(_pictures(fits), "pictures.png")
    return results


def _plots(results: dict[str, Any]) -> Figure:
    """The mean error over the steps, and the share of trials below each error."""
    drawn = Figure(figsize=(9.6, 3.6), dpi=120, layout="constrained")
    left, right = drawn.subplots(1, 2)
    for method, result in results["methods"].items():
        left.plot(*zip(*result["curve"]), label=method)
        errors = sorted(max(value, 1e-3) for value in result["degrees"])
        right.step(errors, [(k + 1) / len(errors) for k in range(len(errors))], where="post", label=method)
    settings = results["settings"]
    left.set(xlabel="step", ylabel="mean error, degrees", ylim=(0, None))
    left.set_title(f"{settings['trials']} trials, {settings['size']}²")
    right.set(xlabel="final error, degrees (at least 0.001)", ylabel="share of trials", xscale="log", ylim=(0, 1.02))
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.legend()
    return drawn


def _pictures(fits: dict[str, Fit], columns: int = 8) -> Figure:
    """The target, the start, and every method's result, for the first trials."""
    fit = next(iter(fits.values()))
    columns = min(columns, fit.settings.trials)
    rows = {"target": fit.target, "start": fit.start} | {name: each.result() for name, each in fits.items()}
    drawn = Figure(figsize=(1.1 * columns + 0.3, 1.1 * len(rows)), dpi=120, layout="constrained")
    axes = drawn.subplots(len(rows), columns, squeeze=False)
    for line, (name, rotations) in zip(axes, rows.items()):
        with torch.no_grad():
            images = fit.cube.images(rotations[:columns], 128).clamp(0, 1).cpu()
        for axis, image in zip(line, images):
            axis.imshow(image.numpy())
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name)
    return drawn


def arguments() -> argparse.ArgumentParser:
    parsed = parser("pose", "The pose of a coloured cube from an image.")
    parsed.add_argument("--trials", type=int, help="targets and starts")
    parsed.add_argument("--steps", type=int, help="of each method, one image each")
    parsed.add_argument("--size", type=int, help="width and height of the image")
    add_device(parsed)
    return parsed


if __name__ == "__main__":
    experiment(arguments().parse_args())
