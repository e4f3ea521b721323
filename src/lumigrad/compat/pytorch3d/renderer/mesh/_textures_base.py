"""What textures of all kinds have in common: rows of vertices or faces, one batch of them for every mesh."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.structures._rows import Rows, checked_repeats, chosen

_FORMS = {"list": "listed", "packed": "packed_rows", "padded": "padded_rows"}


class TexturesBase:
    """A batch of textures, one for each mesh."""

    _of_verts: tuple[str, ...] = ()
    _of_faces: tuple[str, ...] = ()
    _free: tuple[str, ...] = ()

    _rows: dict[str, Rows]
    _N: int
    valid: Tensor

    def _start(self, rows: dict[str, Rows]) -> None:
        first = next(iter(rows.values()))
        self._rows = rows
        self._N = len(first)
        self.valid = torch.ones(self._N, dtype=torch.bool, device=first.sample().device)
        for name in self._of_faces:
            self.__dict__["_num_faces_per_mesh"] = list(rows[name].counts)
        for name in self._of_verts:
            self.__dict__["_num_verts_per_mesh"] = list(rows[name].counts)

    @property
    def device(self) -> torch.device:
        return next(iter(self._rows.values())).sample().device

    def __len__(self) -> int:
        return self._N

    def isempty(self) -> bool:
        return self._N == 0 or not bool(self.valid.any())

    def __getattr__(self, name: str) -> Any:
        """PyTorch3D's private attributes, which programs read: None where nothing has been computed yet."""
        for field, rows in self.__dict__.get("_rows", {}).items():
            form = name.removeprefix(f"_{field}_")
            if name != form and form in _FORMS:
                return getattr(rows, _FORMS[form])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Numbers of vertices and faces say how many rows of padded tensors count."""
        fields = {"_num_verts_per_mesh": self._of_verts, "_num_faces_per_mesh": self._of_faces}.get(name, ())
        for field in fields:
            self._rows[field].recount(list(value))
        self.__dict__[name] = value

    def fit_to_meshes(self, verts: Sequence[int], faces: Sequence[int], valid: Tensor) -> None:
        """Let as many rows count as the meshes have vertices and faces. Not in PyTorch3D."""
        self._num_verts_per_mesh, self._num_faces_per_mesh, self.valid = list(verts), list(faces), valid

    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether the textures are those of so many meshes, of up to so many vertices and faces."""
        if batch_size == self._N == 0:
            return True
        wanted = {**dict.fromkeys(self._of_verts, max_num_verts), **dict.fromkeys(self._of_faces, max_num_faces)}
        return all(_shape(self._rows[name]) == (batch_size, width) for name, width in wanted.items())

    # ---- Other batches

    def _changed(self, change: Callable[[Rows], Rows]) -> Any:
        other = copy.copy(self)
        other.__dict__["_rows"] = {name: change(rows) for name, rows in self._rows.items()}
        return other

    def _map(self, function: Callable[[Tensor], Tensor]) -> Any:
        other = self._changed(lambda rows: rows.map(function))
        other.__dict__["valid"] = function(self.valid)
        return other

    def _select(self, numbers: Sequence[int]) -> Any:
        other = self._changed(lambda rows: rows.select(numbers))
        other.__dict__["_N"] = len(numbers)
        other.__dict__["valid"] = self.valid[torch.as_tensor(numbers, dtype=torch.int64, device=self.valid.device)]
        for name in ("_num_verts_per_mesh", "_num_faces_per_mesh"):
            if name in self.__dict__:
                other.__dict__[name] = [self.__dict__[name][n] for n in numbers]
        return other

    def __getitem__(self, index: Any) -> Any:
        """Some of the textures, as a batch.

        Raises:
            IndexError: an index beyond the batch or of another kind.
        """
        return self._select(chosen(index, self._N))

    def extend(self, N: int) -> Any:
        """Each texture N times in a row.

        Raises:
            ValueError: N is no positive integer.
        """
        times = range(checked_repeats(N))
        return self._select([n for n in range(self._N) for _ in times])

    def to(self, device: torch.device | str) -> Any:
        return self._map(lambda value: value.to(device))

    def clone(self) -> Any:
        """A copy of its own, through which gradients flow."""
        return self._map(torch.clone)

    def detach(self) -> Any:
        return self._map(torch.detach)

    def join_batch(self, textures: Sequence[Any]) -> Any:
        """One batch of this one and others of its kind.

        Raises:
            ValueError: textures of another kind.
        """
        if any(type(other) is not type(self) for other in textures):
            raise ValueError(f"All textures must be of type {type(self).__name__}.")
        parts = [self, *textures]
        joined = {name: Rows([r for p in parts for r in p._rows[name].list()]) for name in self._rows}
        other = copy.copy(self)
        other._start(joined)
        return other

    # ---- What kinds of textures say

    def sample_textures(self, fragments: Any, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [N, H, W, K, C] at fragments."""
        raise NotImplementedError

    def faces_verts_textures_packed(self, faces_packed: Tensor | None = None) -> Tensor:
        """Colours [F, 3, C] at the corners of packed faces."""
        raise NotImplementedError

    def join_scene(self) -> Any:
        """One texture of all, for `join_meshes_as_scene`."""
        raise NotImplementedError

    def submeshes(self, vertex_ids_list: Any, faces_ids_list: Any) -> Any:
        """Textures of parts of meshes, for `Meshes.submeshes`.

        Args:
            vertex_ids_list, faces_ids_list: for each mesh, for each part, the vertices and faces that it has.
        """
        raise NotImplementedError(f"{type(self).__name__} does not support submeshes")

    def subdivided(self, meshes: Any) -> Any:
        """Textures of meshes after `SubdivideMeshes`. Not in PyTorch3D.

        Raises:
            ValueError: textures that cannot be split.
        """
        raise ValueError(f"textures: expected such as can be split, got {type(self).__name__}")


def _shape(rows: Rows) -> tuple[int, int]:
    return len(rows), rows.longest if rows.padded_rows is None else rows.padded_rows.shape[1]


def checked_rows(name: str, value: Any, shape: str, fill: float = 0.0) -> Rows:
    """Rows of a list of tensors or of a padded one.

    Args:
        name: of the argument.
        value: what was given.
        shape: of one mesh's tensor, say "V C" or "F 3": letters are any numbers.
        fill: what padded tensors are filled up with.

    Raises:
        ValueError: something else.
    """
    sizes = shape.split()
    wanted = f"({', '.join(sizes)})"

    def fits(tensor: Any, leading: int) -> bool:
        if not isinstance(tensor, Tensor) or tensor.ndim != leading + len(sizes):
            return False
        return all(not s.isdigit() or int(s) == d for s, d in zip(sizes, tensor.shape[leading:]))

    if isinstance(value, Tensor):
        if not fits(value, 1):
            raise ValueError(f"Expected {name} to be of shape (N, {wanted[1:]}; got {tuple(value.shape)}")
        return Rows(value, fill=fill)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"Expected {name} to be a tensor or list, got {type(value).__name__}")
    for tensor in value:
        if not fits(tensor, 0):
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(f"Expected {name} to be a list of tensors of shape {wanted}; got {got}")
    if len({(t.device, t.shape[len(sizes) :]) for t in value}) > 1:
        raise ValueError(f"{name}: expected one device and as many channels throughout a batch")
    return Rows(value, fill=fill)
