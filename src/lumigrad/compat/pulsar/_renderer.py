"""The renderer as a module."""

from __future__ import annotations

import torch
from torch import Tensor

from lumigrad.compat.pulsar._camera import LENGTHS, unpack_camera
from lumigrad.compat.pulsar._gradients import Scales, scaled
from lumigrad.ops import splat
from lumigrad.types import validation as check
from lumigrad.types.splats import Splats

BACKGROUND_DEPTH = 1e-6
GAMMAS = (1e-5, 1.0)
SMALL = 1e-6  # Pulsar's distance between the focal plane and the first depth, halved


class Renderer(torch.nn.Module):
    """Renders soft spheres with Pulsar's call and conventions.

    Args:
        width, height: of the image.
        max_num_balls: accepted for programs that give it; there is no limit.
        orthogonal_projection: parallel rays; focal length then has no effect.
        right_handed_system: x right, y up, z out of the scene instead of into it.
        background_normalized_depth: only its default is offered.
        n_channels: number of features.
        n_track: how many spheres of a pixel `return_forward_info` lists. Gradients reach all.
        pulsar_gradients: scale gradients as Pulsar does, for programs whose learning rates were chosen for them:
            those of a sphere are divided by the number of pixels that have it among their first `n_track`, and those
            of the camera multiplied by 0.004 / pi and divided by the number of these spheres. They are then no
            derivatives of the image. May be assigned later.

    Raises:
        TypeError, ValueError: for wrong types or ranges.
        NotImplementedError: for another depth of the background.
    """

    def __init__(
        self,
        width: int,
        height: int,
        max_num_balls: int = 1_000_000,
        orthogonal_projection: bool = False,
        right_handed_system: bool = False,
        background_normalized_depth: float = BACKGROUND_DEPTH,
        n_channels: int = 3,
        n_track: int = 5,
        *,
        pulsar_gradients: bool = False,
    ) -> None:
        super().__init__()
        self.size = check.size((height, width))
        for name, value in (("max_num_balls", max_num_balls), ("n_channels", n_channels), ("n_track", n_track)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a positive integer, got {value!r}")
        if abs(background_normalized_depth - BACKGROUND_DEPTH) > 1e-3 * BACKGROUND_DEPTH:
            raise NotImplementedError(
                f"background_normalized_depth: only {BACKGROUND_DEPTH} is offered, got {background_normalized_depth}"
            )
        self.orthogonal_projection = orthogonal_projection
        self.right_handed_system = right_handed_system
        self.n_channels = n_channels
        self.n_track = n_track
        self.pulsar_gradients = pulsar_gradients

    def forward(
        self,
        vert_pos: Tensor,
        vert_col: Tensor,
        vert_rad: Tensor,
        cam_params: Tensor,
        gamma: float | Tensor,
        max_depth: float,
        min_depth: float = 0.0,
        bg_col: Tensor | None = None,
        opacity: Tensor | None = None,
        percent_allowed_difference: float = 0.01,
        max_n_hits: int | None = None,
        mode: int = 0,
        return_forward_info: bool = False,
        first_R_then_T: bool = False,
    ) -> Tensor | tuple[Tensor, Splats]:
        """Render one scene, or a batch of B.

        Args:
            vert_pos: centres [V, 3] or [B, V, 3].
            vert_col: features [V, n_channels] or [B, V, n_channels].
            vert_rad: radii, in world units, [V] or [B, V].
            cam_params: [8, 10, 11 or 13] or [B, ...]: position (3), rotation (3: axis times angle in radians; 6: first
                two rows of a matrix, made orthonormal; the matrix has the camera's axes in the world as columns), focal
                length and sensor width (world units; the sensor is as wide as the image), and, if there are two
                more, by how many pixels the principal point is left of and above the centre.
            gamma: softness of the depth test, 1e-5 to 1; a tensor of one gets a gradient.
            max_depth, min_depth: what depth is normalised by. A sphere whose nearest point is outside is left out.
                min_depth=0 stands for the largest focal length plus 2e-6 (2e-6 with parallel rays), as in Pulsar.
                Other values may be below the focal length.
            bg_col: background [n_channels] or [B, n_channels]; 1 by default.
            opacity: [V] or [B, V], 1 by default.
            percent_allowed_difference: from 0 to below 1, without effect: nothing is left out.
            max_n_hits: without effect unless it is below the number of spheres, which is not offered.
            mode: 0; the map of hits (1) is not offered.
            return_forward_info: return also the :class:`~lumigrad.Splats` [B, ...] with the first `n_track`
                spheres of each pixel and their weights (the original has a tensor of its own packing there).
            first_R_then_T: whether the rotation comes before the position in `cam_params`.

        Any of the tensors may lack the batch where others have it: it is shared.

        Returns:
            Image [height, width, n_channels], or [B, height, width, n_channels] where vert_pos or cam_params has a
            batch; row 0 is the top. Gradients reach positions, features, radii, camera, gamma, background and opacity.

        Raises:
            TypeError, ValueError: for wrong types, shapes, devices or ranges.
            NotImplementedError: for mode 1, or a limit to hits.
        """
        vert_pos = check.floating("vert_pos", vert_pos)
        cam_params = check.floating("cam_params", cam_params, vert_pos, "vert_pos")
        views, batched = self._views(vert_pos, cam_params)
        if first_R_then_T:
            turns = self._focal_at(cam_params) - 3
            cam_params = torch.cat(
                (cam_params[..., turns : turns + 3], cam_params[..., :turns], cam_params[..., turns + 3 :]), -1
            )
        self._check_options(gamma, percent_allowed_difference, max_n_hits, mode, vert_pos.shape[-2])
        bg_col = vert_pos.new_ones(self.n_channels) if bg_col is None else bg_col
        opacity = vert_pos.new_ones(vert_pos.shape[-2]) if opacity is None else opacity
        vert_col, vert_rad, bg_col, opacity = self._checked(vert_pos, views, vert_col, vert_rad, bg_col, opacity)
        view = unpack_camera(
            cam_params.expand(views, cam_params.shape[-1]), self.size, self.orthogonal_projection,
            self.right_handed_system,
        )  # fmt: skip
        spheres, scales = (vert_pos, vert_rad, vert_col, opacity), Scales()
        if self.pulsar_gradients:
            spheres, view = scaled(spheres, view, views, scales)
        out = splat.spheres(
            spheres[0], spheres[1], spheres[2], view, spheres[3], bg_col, gamma=gamma,
            min_depth=self._first_depth(cam_params, min_depth), max_depth=max_depth,
            contributors=self.n_track if return_forward_info or self.pulsar_gradients else 0,
        )  # fmt: skip
        if self.pulsar_gradients:
            scales.count(out.ids, vert_pos.shape[-2])
        image = out.image if batched else out.image[0]
        return (image, out) if return_forward_info else image

    @staticmethod
    def sphere_ids_from_result_info_nograd(result_info: Splats) -> Tensor:
        """The numbers [B, height, width, n_track] of the first spheres of each pixel, -1 where there are fewer.

        Args:
            result_info: what `forward` returns with `return_forward_info`.
        """
        assert result_info.ids is not None
        return result_info.ids

    @staticmethod
    def depth_map_from_result_info_nograd(result_info: Splats) -> Tensor:
        """Not offered: the nearest intersections are not kept. `lumigrad.spheres` returns expected depths."""
        raise NotImplementedError(
            "depth_map_from_result_info_nograd: not offered by lumigrad.compat.pulsar; use depth of lumigrad.spheres"
        )

    def _first_depth(self, cam_params: Tensor, min_depth: float) -> float:
        if min_depth != 0:
            return min_depth
        focal = 0.0 if self.orthogonal_projection else float(cam_params.detach()[..., self._focal_at(cam_params)].max())
        return focal + 2 * SMALL

    @staticmethod
    def _focal_at(cam_params: Tensor) -> int:
        return 9 if cam_params.shape[-1] in (11, 13) else 6

    @staticmethod
    def _views(vert_pos: Tensor, cam_params: Tensor) -> tuple[int, bool]:
        """The number of images, and whether there is a batch of them."""
        if vert_pos.dim() not in (2, 3) or vert_pos.shape[-1] != 3:
            raise ValueError(f"vert_pos: expected shape [V, 3] or [B, V, 3], got {tuple(vert_pos.shape)}")
        if cam_params.dim() not in (1, 2) or cam_params.shape[-1] not in LENGTHS:
            shape = tuple(cam_params.shape)
            raise ValueError(f"cam_params: expected shape [n] or [B, n] with n 8, 10, 11 or 13, got {shape}")
        views = [value.shape[0] for value, single in ((vert_pos, 2), (cam_params, 1)) if value.dim() > single]
        if len(set(views)) > 1:
            raise ValueError(f"cam_params: expected {views[0]} cameras like vert_pos, got {views[1]}")
        return (views[0], True) if views else (1, False)

    def _checked(self, vert_pos: Tensor, views: int, *values: Tensor) -> tuple[Tensor, ...]:
        """vert_col, vert_rad, bg_col, opacity, complained about under the names that they have here."""
        count, channels = vert_pos.shape[-2], self.n_channels
        single = {"vert_col": (count, channels), "vert_rad": (count,), "bg_col": (channels,), "opacity": (count,)}
        result = []
        for (name, shape), value in zip(single.items(), values):
            value = check.floating(name, value, vert_pos, "vert_pos")
            if tuple(value.shape) not in (shape, (views, *shape)):
                raise ValueError(f"{name}: expected shape {[*shape]} or {[views, *shape]}, got {tuple(value.shape)}")
            result.append(value)
        return tuple(result)

    @staticmethod
    def _check_options(gamma: float | Tensor, difference: float, hits: int | None, mode: int, count: int) -> None:
        if not isinstance(gamma, Tensor) and not GAMMAS[0] <= gamma <= GAMMAS[1]:
            raise ValueError(f"gamma: expected a number from {GAMMAS[0]} to {GAMMAS[1]}, got {gamma}")
        if not 0 <= difference < 1:
            raise ValueError(f"percent_allowed_difference: expected a number from 0 to below 1, got {difference}")
        if hits is not None and hits < count:
            raise NotImplementedError(f"max_n_hits: a limit below the number of spheres is not offered, got {hits}")
        if mode != 0:
            raise NotImplementedError(f"mode: only 0, the image, is offered, got {mode!r}")

    def extra_repr(self) -> str:
        height, width = self.size
        return f"width={width}, height={height}, n_channels={self.n_channels}, n_track={self.n_track}"
