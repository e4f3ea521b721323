"""The state of a fit of materials, which can be kept in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit._plain import check_adam, from_plain
from lumigrad.fit.materials.maps import MaterialMaps, coarse_levels, maps_of, start_parameters
from lumigrad.fit.materials.occlusion import bake_occlusion
from lumigrad.fit.materials.relief import texel_axes
from lumigrad.fit.reconstruct.atlas import unwrap
from lumigrad.fit.reconstruct.photo_set import PhotoSet
from lumigrad.fit.reconstruct.projection import texels
from lumigrad.fit.reconstruct.resolution import texture_size
from lumigrad.render.mesh import render_mesh
from lumigrad.scene.color import srgb_decode
from lumigrad.scene.shapes.mesh import Mesh

# Number of photographs on which the brightness is measured.
_MEASURED = 16


@dataclass
class MaterialsState:
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely.

    Attributes:
        uvs, uv_faces: of the atlas.
        occlusion: see `MaterialMaps`, [H, W, 1]; its size is that of the maps.
        parameters: see `start_parameters`.
        gains: by which each photograph is brighter than the renders, of each channel, [N, 3].
        iteration, seconds, losses: so far; errors are root mean squares.
        curve: measurements on the photographs held out.
        optimizer: the state of the optimiser.
        axes: of the texels where there is a normal map, see `texel_axes`, else None.
    """

    uvs: Tensor
    uv_faces: Tensor
    occlusion: Tensor
    parameters: dict[str, list[Tensor]]
    gains: Tensor
    iteration: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, float]] = field(default_factory=list)
    optimizer: dict[str, Any] = field(default_factory=dict)
    axes: Tensor | None = None

    @classmethod
    def begin(
        cls,
        mesh: Mesh,
        photos: PhotoSet,
        size: int | None = None,
        light_size: int = 32,
        albedo: float = 0.3,
        normals: bool = False,
    ) -> MaterialsState:
        """State before the first step: a grey surface in grey light.

        Args:
            mesh: in the ball of radius one; it gets texture coordinates unless it has some.
            photos: that show it.
            size: rows and columns of the maps, approximately; None for what the photographs can show.
            light_size: texels along a side of the faces of the light's cube map.
            albedo: mean linear base colour that is expected.
            normals: fit a normal map, too.
        """
        size = texture_size(mesh, photos) if size is None else size
        if mesh.uvs is None or mesh.uv_faces is None:
            uvs, uv_faces, shape, _ = unwrap(mesh.positions, mesh.faces, size)
            mesh = replace(mesh, uvs=uvs, uv_faces=uv_faces)
        else:
            uvs, uv_faces, shape = mesh.uvs, mesh.uv_faces, (size, size)
        values = start_parameters(shape, light_size, albedo, _brightness(mesh, photos), normals)
        device = mesh.positions.device
        parameters = {name: [level.to(device) for level in levels] for name, levels in values.items()}
        gains = mesh.positions.new_ones(len(photos), 3)
        axes = texel_axes(mesh, shape) if normals else None
        return cls(uvs, uv_faces, bake_occlusion(mesh, shape), parameters, gains, axes=axes)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the maps."""
        return (self.occlusion.shape[0], self.occlusion.shape[1])

    def maps(self, coarse: bool = False) -> MaterialMaps:
        """The maps as they are now, see `maps_of`."""
        return maps_of(self.parameters, self.size, self.occlusion, coarse, self.axes)

    def on(self, mesh: Mesh) -> Mesh:
        """A mesh with the atlas's texture coordinates."""
        return replace(mesh, uvs=self.uvs, uv_faces=self.uv_faces)

    def covered(self, mesh: Mesh) -> Tensor:
        """Which texels belong to the surface, bool [H, W]."""
        return texels(self.on(mesh), self.size).inside

    def leaves(self) -> Sequence[Tensor]:
        """All parameters, in a fixed order."""
        return [level for name in sorted(self.parameters) for level in self.parameters[name]]

    def to(self, device: torch.device) -> MaterialsState:
        """The same on another device; moments of the optimiser follow where they are used."""
        moved: dict[str, Any] = {
            name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        levels = {name: [level.to(device) for level in found] for name, found in self.parameters.items()}
        return replace(self, **moved, parameters=levels)

    def to_dict(self) -> dict[str, Any]:
        levels = {name: [level.detach() for level in found] for name, found in self.parameters.items()}
        return {**vars(self), "parameters": levels}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> MaterialsState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, or not finite; or they do not fit together.
        """
        state = from_plain(cls, values)
        if state.occlusion.ndim != 3 or state.occlusion.shape[-1] != 1:
            raise ValueError(f"state.occlusion: expected [H, W, 1], got {list(state.occlusion.shape)}")
        missing = {"base_color", "roughness", "metallic", "light"} - state.parameters.keys()
        if missing or not all(state.parameters.values()):
            raise ValueError(f"state.parameters: {', '.join(sorted(missing)) or 'levels'} missing")
        state._check_sizes()
        state._check_optimizer()
        return state

    def _check_sizes(self) -> None:
        if self.uvs.ndim != 2 or self.uvs.shape[1] != 2 or not self.uvs.is_floating_point():
            raise ValueError(f"state.uvs: expected [V, 2], got {list(self.uvs.shape)}")
        if self.uv_faces.ndim != 2 or self.uv_faces.shape[1] != 3 or self.uv_faces.is_floating_point():
            raise ValueError(f"state.uv_faces: expected [F, 3], got {list(self.uv_faces.shape)}")
        if self.uv_faces.numel() and not 0 <= int(self.uv_faces.min()) <= int(self.uv_faces.max()) < len(self.uvs):
            raise ValueError(f"state.uv_faces: expected numbers of {len(self.uvs)} texture coordinates")
        light = self.parameters["light"][-1]
        side = light.shape[1] if light.ndim == 4 else 0
        right = start_parameters(self.size, side, 0.5, torch.tensor(0.5), "normal" in self.parameters)
        if self.parameters.keys() != right.keys():
            raise ValueError(f"state.parameters: expected {', '.join(right)}, got {', '.join(self.parameters)}")
        if (self.axes is None) == ("normal" in right) or (self.axes is not None and self.axes.shape != (*self.size, 3)):
            raise ValueError(f"state.axes: expected {[*self.size, 3] if 'normal' in right else None}")
        for name, levels in right.items():
            expected, got = ([list(level.shape) for level in found] for found in (levels, self.parameters[name]))
            if got != expected:
                raise ValueError(f"state.parameters.{name}: expected {expected}, got {got}")

    def _check_optimizer(self) -> None:
        if self.iteration < 0 or bool(self.optimizer) != (self.iteration > 0):
            raise ValueError(f"state.optimizer: expected that of {self.iteration} steps")
        if not self.optimizer:
            return
        leaves = self.leaves()
        found = check_adam(self.optimizer, leaves, [1] * len(leaves), "state.optimizer")
        coarse, first = set[int](), 0
        for name in sorted(self.parameters):
            coarse |= set(range(first, first + len(coarse_levels(name, self.parameters[name]))))
            first += len(self.parameters[name])
        # The fine levels are all fixed at first.
        if found not in (coarse, set(range(len(leaves)))):
            raise ValueError(f"state.optimizer.state: expected moments of {len(leaves)} tensors, got {len(found)}")


@torch.no_grad()
def _brightness(mesh: Mesh, photos: PhotoSet) -> Tensor:
    """Mean linear value of the mesh in photographs, []."""
    total = count = torch.zeros(())
    for n in range(0, len(photos), max(1, len(photos) // _MEASURED)):
        shown = render_mesh(Mesh(mesh.positions, mesh.faces), photos.camera[n : n + 1]).mask[0] > 0.99
        inside = photos.counts[n] & shown
        inside = inside if photos.alpha is None else inside & (photos.alpha[n] > 0.99)
        total = total + (srgb_decode(photos.images[n].float()) * inside).mean(-1).sum().cpu()
        count = count + inside.sum().cpu()
    return total / count.clamp_min(1)
