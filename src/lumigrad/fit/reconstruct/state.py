"""The state of a reconstruction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lumigrad.fit.mesh.loop import FitState
from lumigrad.scene.shapes.mesh import Mesh


@dataclass
class ReconstructState(FitState):
    """Everything needed to resume a fit: tensors and plain values only, so that it can be loaded safely.

    Attributes:
        gains: by which each photograph is brighter than the surface, of each channel, [N, 3].
        curve: measurements on the photographs held out.
        atlas: what made the texture coordinates: "xatlas", "lumigrad", "mesh" for those that the mesh had; "" as long
            as there are none.
        cameras: corrections of the photographs' cameras, `CameraRefinement.to_dict`; empty where they are not fitted.
    """

    gains: Tensor = field(default_factory=lambda: torch.ones(0, 3))
    curve: list[dict[str, float]] = field(default_factory=list)
    atlas: str = ""
    cameras: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def begin(cls, mesh: Mesh, photographs: int) -> ReconstructState:
        """State before the first step, painted grey."""
        grey = mesh.positions.new_full((len(mesh.positions), 3) if mesh.uvs is None else (1, 1, 3), 0.5)
        gains = mesh.positions.new_ones(photographs, 3)
        atlas = "" if mesh.uvs is None else "mesh"
        return cls(mesh.faces.long(), mesh.positions.clone(), grey, mesh.uvs, mesh.uv_faces, gains=gains, atlas=atlas)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ReconstructState:
        """What `to_dict` returned, read from a file.

        Raises:
            ValueError: values are missing, of another type, or not finite; or they are not those of a mesh.
        """
        state = super().from_dict(values)
        assert isinstance(state, cls)
        if state.atlas not in (("",) if state.uvs is None else ("xatlas", "lumigrad", "mesh")):
            raise ValueError(f"state.atlas: {state.atlas!r} does not fit state.uvs")
        return state

    def to(self, device: torch.device) -> ReconstructState:
        """The same on another device; moments of optimisers follow where they are used."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        cameras = {name: value.to(device) for name, value in self.cameras.items()}
        return replace(self, cameras=cameras, **moved)  # type: ignore[arg-type]
