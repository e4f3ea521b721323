"""Batches of point clouds."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from lumigrad.compat.pytorch3d.common.datatypes import Device, make_device
from lumigrad.compat.pytorch3d.ops.points_normals import estimate_pointcloud_normals
from lumigrad.compat.pytorch3d.structures._rows import Batch, Rows, check_index, checked_repeats, chosen

_DERIVED = ("_packed_to_cloud_idx", "_cloud_to_packed_first_idx", "_padded_to_packed_idx")
_FORMS = {"list": "listed", "packed": "packed_rows", "padded": "padded_rows"}
_FIELDS = ("points", "normals", "features")


class Pointclouds:
    """N point clouds of any sizes.

    Args:
        points: positions, a list of [P_n, 3] or all in one tensor [N, P, 3].
        normals: of the points, in the same form.
        features: of the points, [P_n, C] or [N, P, C].

    Raises:
        ValueError: shapes, devices or lengths that do not fit.
    """

    _INTERNAL_TENSORS = (*_DERIVED, "_num_points_per_cloud", "valid")

    def __init__(self, points: Batch, normals: Any = None, features: Any = None) -> None:
        self._points = _points(points)
        self._cache: dict[str, Tensor | None] = {}
        counts = self._points.counts
        self._N, self._P = len(self._points), self._points.longest
        self.device = self._points.sample().device
        self.equisized = self._N > 0 and len(set(counts)) == 1
        padded = isinstance(points, Tensor)
        self.valid = torch.tensor([padded or p > 0 for p in counts], dtype=torch.bool, device=self.device)
        self._num_points_per_cloud = self._points.numbers(counts)
        self._normals = self._of_points(normals)
        self._features = self._of_points(features)
        if self._normals is not None and self._normals.sample().shape[-1] != 3:
            raise ValueError(f"Normals are expected to be 3-dimensional, got {tuple(self._normals.sample().shape)}")
        self._C = None if self._features is None else self._features.sample().shape[-1]

    def _of_points(self, value: Any) -> Rows | None:
        """What is given for every point, if it is."""
        if value is None or self._N == 0:
            return None
        if isinstance(value, Tensor):
            if value.ndim != 3 or value.shape[:2] != (self._N, self._P):
                raise ValueError(
                    "Auxiliary input tensor has incorrect dimensions: expected "
                    f"[{self._N}, {self._P}, C], got {tuple(value.shape)}"
                )
            if value.device != self.device:
                raise ValueError(f"All auxiliary inputs must be on the same device as the points, got {value.device}")
            return Rows(value, self._points.counts)
        if not isinstance(value, (list, tuple)):
            raise ValueError(
                "Auxiliary input must be either a list or a tensor with shape (batch_size, P, C), got "
                f"{type(value).__name__}"
            )
        return self._from_list(value)

    def _from_list(self, value: Sequence[Tensor | None]) -> Rows | None:
        if len(value) != self._N:
            raise ValueError(f"Points and auxiliary input must be the same length: {self._N} clouds, got {len(value)}")
        filled = [v for v, count in zip(value, self._points.counts) if count]
        if any(v is None or v.ndim != 2 for v in filled):
            raise ValueError("A cloud has auxiliary inputs of incorrect dimensions: expected shape [P, C]")
        shaped = [v for v in value if v is not None and v.ndim == 2]
        if not shaped:
            return None
        like = shaped[0] if not filled else filled[0]
        assert like is not None
        rows = [like.new_zeros(0, like.shape[1]) if v is None or v.ndim != 2 else v for v in value]
        for row, count in zip(rows, self._points.counts):
            if len(row) != count:
                raise ValueError(
                    f"A cloud has mismatched numbers of points and inputs: expected {count}, got {len(row)}"
                )
            if row.device != self.device:
                raise ValueError(f"All auxiliary inputs must be on the same device as the points, got {row.device}")
            if row.shape[1] != like.shape[1]:
                raise ValueError("The clouds must have the same number of channels in their auxiliary inputs")
        return Rows(rows)

    def __len__(self) -> int:
        return self._N

    def __iter__(self) -> Iterator[Pointclouds]:
        return (self[n] for n in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        """PyTorch3D's private attributes, which programs read: None where nothing has been computed yet."""
        if name in _DERIVED:
            return self.__dict__.get("_cache", {}).get(name)
        for kind in _FIELDS:
            form = name.removeprefix(f"_{kind}_")
            if name != form and form in _FORMS and f"_{kind}" in self.__dict__:
                rows = self.__dict__[f"_{kind}"]
                return None if rows is None else getattr(rows, _FORMS[form])
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def _cached(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        value = self._cache.get(name)
        if value is None:
            value = self._cache[name] = make()
        return value

    def isempty(self) -> bool:
        """Whether there is no point in any cloud."""
        return self._N == 0 or not bool(self.valid.any())

    # ---- Views of the data

    def points_list(self) -> list[Tensor]:
        return self._points.list()

    def normals_list(self) -> list[Tensor] | None:
        return None if self._normals is None else self._normals.list()

    def features_list(self) -> list[Tensor] | None:
        return None if self._features is None else self._features.list()

    def points_packed(self) -> Tensor:
        """Points of all clouds in a row [P, 3]."""
        return self._points.packed()

    def normals_packed(self) -> Tensor | None:
        return None if self._normals is None else self._normals.packed()

    def features_packed(self) -> Tensor | None:
        return None if self._features is None else self._features.packed()

    def points_padded(self) -> Tensor:
        """[N, most points, 3], filled up with 0."""
        return self._points.padded()

    def normals_padded(self) -> Tensor | None:
        return None if self._normals is None else self._normals.padded()

    def features_padded(self) -> Tensor | None:
        return None if self._features is None else self._features.padded()

    def num_points_per_cloud(self) -> Tensor:
        return self._num_points_per_cloud

    def packed_to_cloud_idx(self) -> Tensor:
        """The cloud of each packed point [P]."""
        return self._cached("_packed_to_cloud_idx", self._points.owner)

    def cloud_to_packed_first_idx(self) -> Tensor:
        rows = self._points
        return self._cached("_cloud_to_packed_first_idx", lambda: rows.numbers(rows.first))

    def padded_to_packed_idx(self) -> Tensor:
        """Where packed points [P] lie in the flattened padded ones."""
        return self._cached("_padded_to_packed_idx", self._points.places)

    def point_ranges(self) -> Tensor:
        """(first, count) of each cloud's packed points [N, 2], on the CPU, as ops take them. Not in PyTorch3D."""
        return self._points.ranges()

    def _compute_packed(self, refresh: bool = False) -> None:
        for rows in self._rows():
            rows.packed()

    def _compute_padded(self, refresh: bool = False) -> None:
        for rows in self._rows():
            rows.padded()

    def _rows(self) -> list[Rows]:
        return [rows for rows in (self._points, self._normals, self._features) if rows is not None]

    def get_cloud(self, index: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Points, normals and features of one cloud.

        Raises:
            ValueError: an index that is no integer, or beyond the batch.
        """
        check_index("Cloud", index, self._N)
        normals, features = self.normals_list(), self.features_list()
        return (
            self.points_list()[index],
            None if normals is None else normals[index],
            None if features is None else features[index],
        )

    def get_bounding_boxes(self) -> Tensor:
        """[N, 3, 2], the smallest and the largest coordinates."""
        return torch.stack([torch.stack((p.amin(0), p.amax(0)), 1) for p in self.points_list()])

    def inside_box(self, box: Tensor) -> Tensor:
        """Which packed points lie in a box, bool [P].

        Args:
            box: smallest and largest coordinates [2, 3], or one for each cloud [N, 2, 3].

        Raises:
            ValueError: another shape, or a box whose corners are exchanged.
        """
        if box.ndim not in (2, 3):
            raise ValueError(f"Input box must be of shape (2, 3) or (N, 2, 3), got {tuple(box.shape)}")
        box = box[None] if box.ndim == 2 else box
        if len(box) not in (1, self._N):
            raise ValueError(f"Input box dimension is incompatible with pointcloud size: {self._N}, got {len(box)}")
        if bool((box[:, 0] > box[:, 1]).any()):
            raise ValueError("Input box is invalid: min values larger than max values")
        low, high = (box if len(box) == 1 else box[self.packed_to_cloud_idx()]).unbind(1)
        points = self.points_packed()
        return ((points >= low) & (points <= high)).all(-1)

    def estimate_normals(
        self, neighborhood_size: int = 50, disambiguate_directions: bool = True, assign_to_self: bool = False
    ) -> Tensor:
        """Normals [N, most points, 3] from the points around each, as `ops.estimate_pointcloud_normals` finds them.

        Args:
            neighborhood_size: how many points around count.
            disambiguate_directions: whether normals point to the side where most neighbours are.
            assign_to_self: whether they become the normals of this batch.
        """
        normals = estimate_pointcloud_normals(self, neighborhood_size, disambiguate_directions)
        if assign_to_self:
            self._normals = Rows(normals, self._points.counts)
        return normals

    # ---- Other batches

    def _with(self, **rows: Rows | None) -> Pointclouds:
        other = copy.copy(self)
        other._cache = dict(self._cache)
        for name, value in rows.items():
            setattr(other, f"_{name}", value)
        return other

    def offset(self, offsets_packed: Tensor) -> Pointclouds:
        """Points moved by [P, 3] or [3].

        Raises:
            ValueError: another shape.
        """
        points = self.points_packed()
        if offsets_packed.shape not in ((3,), points.shape):
            raise ValueError(
                f"offsets_packed: expected shape {tuple(points.shape)} or (3,), got {tuple(offsets_packed.shape)}"
            )
        return self._with(points=self._points.with_packed(points + offsets_packed))

    def scale(self, scale: float | Tensor) -> Pointclouds:
        """Scaled about the origin by a number, or by one for each cloud [N]."""
        points = self.points_packed()
        factor = torch.as_tensor(scale, dtype=points.dtype, device=points.device)
        factor = factor.reshape(-1)[self.packed_to_cloud_idx()][:, None] if factor.ndim else factor
        return self._with(points=self._points.with_packed(points * factor))

    def offset_(self, offsets_packed: Tensor) -> Pointclouds:
        """`offset`, in place; returns the batch itself."""
        self._points = self.offset(offsets_packed)._points
        return self

    def scale_(self, scale: float | Tensor) -> Pointclouds:
        """`scale`, in place; returns the batch itself."""
        self._points = self.scale(scale)._points
        return self

    def subsample(self, max_points: int | Sequence[int] | Tensor) -> Pointclouds:
        """At most so many points of each cloud, chosen at random; the batch itself if it has no more.

        Args:
            max_points: a number, or one for each cloud.

        Raises:
            ValueError: another number of limits than of clouds.
        """
        limits = [max_points] * self._N if isinstance(max_points, int) else [int(limit) for limit in max_points]
        if len(limits) != self._N:
            raise ValueError(f"wrong number of max_points supplied: expected {self._N}, got {len(limits)}")
        counts = self._points.counts
        if all(count <= limit for count, limit in zip(counts, limits)):
            return self
        keep = [
            torch.arange(count) if count <= limit else torch.randperm(count)[:limit]
            for count, limit in zip(counts, limits)
        ]

        def kept(rows: list[Tensor] | None) -> list[Tensor] | None:
            return None if rows is None else [row[numbers.to(row.device)] for row, numbers in zip(rows, keep)]

        points = kept(self.points_list())
        assert points is not None
        return Pointclouds(points, kept(self.normals_list()), kept(self.features_list()))

    def extend(self, N: int) -> Pointclouds:
        """Each cloud N times in a row; copies, through which gradients flow.

        Raises:
            ValueError: N is no positive integer.
        """
        times = range(checked_repeats(N))
        copies = [
            None if rows is None else [row.clone() for row in rows.list() for _ in times]
            for rows in (self._points, self._normals, self._features)
        ]
        assert copies[0] is not None
        return type(self)(copies[0], copies[1], copies[2])

    def update_padded(
        self, new_points_padded: Tensor, new_normals_padded: Tensor | None = None,
        new_features_padded: Tensor | None = None,
    ) -> Pointclouds:  # fmt: skip
        """The same clouds with other points [N, most points, 3], and other normals and features if they are given.

        Raises:
            ValueError: another shape.
        """
        given = (new_points_padded, new_normals_padded, new_features_padded)
        changed: dict[str, Rows | None] = {}
        for name, value, channels in zip(_FIELDS, given, (3, 3, self._C)):
            if value is None:
                continue
            expected = (self._N, self._P, value.shape[-1] if channels is None else channels)
            if value.shape != expected:
                raise ValueError(f"new_{name}_padded: expected shape {expected}, got {tuple(value.shape)}")
            changed[name] = Rows(value, self._points.counts)
        other = self._with(**changed)
        other._C = self._C if new_features_padded is None else new_features_padded.shape[-1]
        return other

    def __getitem__(self, index: Any) -> Pointclouds:
        """Some of the clouds; one of them is a batch of one.

        Raises:
            IndexError: an index beyond the batch or of another kind.
        """
        numbers = chosen(index, self._N)
        picked = [
            None if rows is None else [rows.list()[n] for n in numbers]
            for rows in (self._points, self._normals, self._features)
        ]
        assert picked[0] is not None
        return type(self)(picked[0], picked[1], picked[2])

    def split(self, split_sizes: Sequence[int]) -> list[Pointclouds]:
        """Batches of so many clouds each.

        Raises:
            ValueError: sizes that are no integers.
        """
        if not all(isinstance(size, int) for size in split_sizes):
            raise ValueError(f"split_sizes: expected integers, got {list(split_sizes)}")
        ends = torch.tensor([0, *split_sizes]).cumsum(0).tolist()
        return [self[start:end] for start, end in itertools.pairwise(ends)]

    def _map(self, function: Callable[[Tensor], Tensor]) -> Pointclouds:
        other = copy.copy(self)
        for name in _FIELDS:
            rows = getattr(self, f"_{name}")
            setattr(other, f"_{name}", None if rows is None else rows.map(function))
        other._cache = {k: None if v is None else function(v) for k, v in self._cache.items()}
        other.valid, other._num_points_per_cloud = function(self.valid), function(self._num_points_per_cloud)
        return other

    def to(self, device: Device, copy: bool = False) -> Pointclouds:
        """On a device; the batch itself where it is there already."""
        place = make_device(device)
        if place == self.device and not copy:
            return self
        other = self._map(lambda value: value.to(place, copy=copy))
        other.device = place
        return other

    def cpu(self) -> Pointclouds:
        return self.to("cpu")

    def cuda(self) -> Pointclouds:
        return self.to("cuda")

    def clone(self) -> Pointclouds:
        """A copy of its own, through which gradients flow."""
        return self._map(torch.clone)

    def detach(self) -> Pointclouds:
        return self._map(torch.detach)


def _points(points: Batch) -> Rows:
    if isinstance(points, Tensor):
        if points.ndim != 3 or points.shape[2] != 3:
            raise ValueError(f"Points tensor has incorrect dimensions: expected [N, P, 3], got {tuple(points.shape)}")
        return Rows(points)
    if not isinstance(points, (list, tuple)):
        raise ValueError(
            f"Points must be either a list or a tensor with shape (batch_size, P, 3), got {type(points).__name__}"
        )
    rows = [p.reshape(0, 3) if p.numel() == 0 else p for p in points]
    for p in rows:
        if p.ndim != 2 or p.shape[1] != 3:
            raise ValueError(f"Clouds in list must be of shape Px3 or empty, got {tuple(p.shape)}")
        if p.device != rows[0].device:
            raise ValueError(f"All points must be on the same device, got {rows[0].device} and {p.device}")
    return Rows(rows)


def join_pointclouds_as_batch(pointclouds: Sequence[Pointclouds]) -> Pointclouds:
    """One batch of several.

    Raises:
        ValueError: clouds on different devices, or of which some have normals or features and others not.
    """
    if isinstance(pointclouds, Pointclouds) or not isinstance(pointclouds, Sequence):
        raise ValueError("Wrong first argument to join_points_as_batch: expected a list of Pointclouds")
    if len({p.device for p in pointclouds}) > 1:
        raise ValueError("Pointclouds must all be on the same device")
    lists = {name: [getattr(p, f"{name}_list")() for p in pointclouds] for name in _FIELDS}
    joined: dict[str, list[Tensor] | None] = {}
    for name, parts in lists.items():
        if any(part is None for part in parts):
            if any(part is not None for part in parts):
                raise ValueError(f"Pointclouds in the batch have some fields '{name}' defined and some set to None.")
            joined[name] = None
        else:
            joined[name] = [row for part in parts for row in part]
    if len({row.shape[1] for row in joined["features"] or ()}) > 1:
        raise ValueError("Pointclouds must have the same number of features")
    points = joined["points"]
    assert points is not None
    return Pointclouds(points, joined["normals"], joined["features"])


def join_pointclouds_as_scene(pointclouds: Pointclouds | Sequence[Pointclouds]) -> Pointclouds:
    """One cloud of all. Raises as `join_pointclouds_as_batch` does."""
    batch = pointclouds if isinstance(pointclouds, Pointclouds) else join_pointclouds_as_batch(pointclouds)
    if len(batch) == 1:
        return batch
    normals, features = batch.normals_packed(), batch.features_packed()
    return Pointclouds(
        batch.points_packed()[None],
        None if normals is None else normals[None],
        None if features is None else features[None],
    )
