"""The loop that fits a template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lumigrad.fit.template.deform import barycentric_points
from lumigrad.ops.surface import edge_topology
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.cameras.camera import Camera
from lumigrad.scene.light.lights import Lighting
from lumigrad.scene.shapes.mesh import Mesh
from lumigrad.types import validation


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of the template, and their positions in images.

    Attributes:
        face, weights: the points, [L] faces and barycentric weights [L, 3].
        pixels: places (x, y) in each image [N, L, 2]; NaN where a point is not seen.
    """

    face: Tensor
    weights: Tensor
    pixels: Tensor

    def loss(self, positions: Tensor, faces: Tensor, camera: Camera) -> Tensor:
        """Mean distance in the images, relative to their height; smooth below a pixel."""
        places = camera.pixels(barycentric_points(positions, faces, self.face, self.weights))
        seen = self.pixels.isfinite().all(-1)
        apart = torch.where(seen[..., None], places - self.pixels, 0)
        distance = (1 + apart.square().sum(-1)).sqrt() - 1
        return (distance * seen).sum() / seen.sum().clamp_min(1) / camera.size[0]


@dataclass(frozen=True, eq=False)
class TemplateFit:
    """What `fit_template` returns: the deformed mesh, and the loss of every step."""

    mesh: Mesh
    losses: list[float]


def fit_template(
    template: Mesh,
    deform: Callable[[], Tensor],
    parameters: Sequence[Tensor],
    camera: Camera,
    masks: Tensor | None = None,
    images: Tensor | None = None,
    landmarks: Landmarks | None = None,
    regularise: Callable[[Tensor], Tensor] | None = None,
    iterations: int = 200,
    rate: float = 0.01,
    landmark_weight: float = 1.0,
    lighting: Lighting | None = None,
) -> TemplateFit:
    """Fit the parameters of a deformation to masks, images and landmarks, by Adam, its rate falling to a tenth.

    The loss is the mean absolute difference of masks and of images in front of black, plus landmarks and regularisers.

    Args:
        template: faces and appearance.
        deform: positions [V, 3], or [N, V, 3] for a pose in every image, made of the parameters.
        parameters: what is optimised: leaf tensors that require gradients.
        camera: of N images.
        masks: [N, H, W, 1].
        images: premultiplied [N, H, W, 3], in the template's own colours and light.
        regularise: a loss of the positions, already weighted.

    Raises:
        ValueError: nothing to fit to, or masks, images or landmarks of another number or size than the camera's.

    >>> import torch
    >>> from lumigrad.fit import fibonacci_cameras, fit_template
    >>> from lumigrad.render import render_mesh
    >>> from lumigrad.scene import icosphere
    >>> ball, camera = icosphere(2), fibonacci_cameras(3, (32, 32), radius=1.6)
    >>> masks = render_mesh(icosphere(2, 1.3), camera).mask
    >>> size = torch.ones((), requires_grad=True)
    >>> found = fit_template(ball, lambda: size * ball.positions, [size], camera, masks, iterations=50, rate=0.03)
    >>> round(size.item(), 1)
    1.3
    """
    count = camera.shape[0] if camera.shape else 1
    for name, value, channels in (("masks", masks, 1), ("images", images, 3)):
        if value is not None:
            validation.shape(name, value, (count, *camera.size, channels))
    if landmarks is not None:
        validation.shape("landmarks.pixels", landmarks.pixels, (count, len(landmarks.face), 2))
    if masks is None and images is None and landmarks is None:
        raise ValueError("masks, images, landmarks: expected at least one, got none")
    iterations = validation.integer("iterations", iterations, 1)
    optimizer = torch.optim.Adam(list(parameters), lr=rate)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.1 ** (1 / iterations))
    topology = edge_topology(template.faces)
    losses = []
    for _ in range(iterations):
        optimizer.zero_grad()
        positions = deform()
        loss = positions.new_zeros(())
        if masks is not None or images is not None:
            shot = render_mesh(replace(template, positions=positions), camera, lighting, topology)
            if masks is not None:
                loss = loss + (shot.mask - masks).abs().mean()
            if images is not None:
                loss = loss + (shot.color - images).abs().mean()
        if landmarks is not None:
            loss = loss + landmark_weight * landmarks.loss(positions, template.faces, camera)
        if regularise is not None:
            loss = loss + regularise(positions)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    with torch.no_grad():
        return TemplateFit(replace(template, positions=deform().detach()), losses)
