"""The compositing engine, registered with torch: what `splat` and `spheres` have in common.

The kernel is ``native/splat``.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import torch

from lumigrad._engine import validation as check
from lumigrad._engine.registration import register
from lumigrad.types.splats import Splats

# Footprints with their components of shape (0: one number, no dimension), and blendings, as the kernel numbers them.
FOOTPRINTS = {"gaussian": (0, 3), "disc": (1, 0), "square": (2, 0)}
SPHERES = {"perspective": 3, "orthographic": 4}
BLENDS = {"alpha": 0, "normalised": 2, "nearest": 3}
SOFTMAX = 1
# Its image has two more channels: the distortion of depth and the depth at the median.
SURFEL = 5
EXTRA_CHANNELS = {SURFEL: 2}


def named(name: str, value: Any, known: dict[str, Any]) -> Any:
    """What `known` has under the name `value`."""
    if value not in known:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")
    return known[value]


def check_appearance(
    payload: torch.Tensor,
    opacity: torch.Tensor | None,
    background: torch.Tensor | None,
    like: torch.Tensor,
    like_name: str,
    views: int,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """payload, opacity and background, checked and with defaults."""
    payload = check.floating("payload", payload, like, like_name)
    if payload.dim() not in (2, 3) or payload.shape[-2] != count or (payload.dim() == 3 and len(payload) != views):
        raise ValueError(f"payload: expected shape [{count}, C] or [{views}, {count}, C], got {tuple(payload.shape)}")
    if opacity is None:
        opacity = like.new_ones(count)
    opacity = check.floating("opacity", opacity, like, like_name)
    if tuple(opacity.shape) not in ((count,), (views, count)):
        raise ValueError(f"opacity: expected shape [{count}] or [{views}, {count}], got {tuple(opacity.shape)}")
    channels = payload.shape[-1]
    if background is None:
        background = like.new_zeros(channels)
    background = check.floating("background", background, like, like_name)
    if tuple(background.shape) not in ((channels,), (views, channels)):
        raise ValueError(
            f"background: expected shape [{channels}] or [{views}, {channels}], got {tuple(background.shape)}"
        )
    return payload, opacity, background


def check_contributors(contributors: Any) -> None:
    if not isinstance(contributors, int) or not 0 <= contributors <= 1024:
        raise ValueError(f"contributors: expected an integer from 0 to 1024, got {contributors!r}")


def composite(
    position: torch.Tensor,
    shape: torch.Tensor,
    depth: torch.Tensor | None,
    opacity: torch.Tensor,
    payload: torch.Tensor,
    background: torch.Tensor,
    view: torch.Tensor | None,
    intrinsics: torch.Tensor | None,
    gamma: torch.Tensor | None,
    footprint: int,
    blend: int,
    size: tuple[int, int],
    settings: Sequence[float],
    limit: int,
    contributors: int,
) -> Splats:
    """The registered op, on checked arguments."""
    tensors = (position, shape, depth, opacity, payload, background, view, intrinsics, gamma)
    image, alpha, depths, median, ids, weights, _, _ = _op(
        *(None if t is None else t.contiguous() for t in tensors), footprint, blend, *size, list(settings), limit,
        contributors,
    )  # fmt: skip
    listed = (ids, weights) if contributors else (None, None)
    return Splats(image, alpha, depths, median if blend == BLENDS["alpha"] else None, *listed)


def _views_of(tensor: torch.Tensor | None, dims: int) -> int:
    """How many views a tensor has values for; `dims` is its number of dimensions when it is shared by all."""
    return 1 if tensor is None or tensor.dim() == dims else tensor.shape[0]


def _views(position: torch.Tensor, view: torch.Tensor | None) -> int:
    return position.shape[0] if view is None else view.shape[0]


def _scene(core: Any, tensors: Sequence[torch.Tensor | None], options: Sequence[Any]) -> tuple:
    """What both C functions begin with. options: footprint, blend, height, width, settings, limit."""
    footprint, blend, height, width, settings, limit = options
    position, shape, depth, opacity, payload, background, view, _, _ = tensors
    assert position is not None
    assert shape is not None
    assert payload is not None
    scalar_shape = view is not None or shape.dim() == position.dim() - 1
    sizes = (
        _views(position, view), position.shape[-2], payload.shape[-1], height, width,
        _views_of(position, 2), _views_of(shape, 1 if scalar_shape else 2), _views_of(depth, 1), _views_of(opacity, 1),
        _views_of(payload, 2), _views_of(background, 1), position.shape[-1], 1 if scalar_shape else shape.shape[-1],
        limit,
    )  # fmt: skip
    return (
        core.float_code(position), footprint, blend, (ctypes.c_int64 * 14)(*sizes), (ctypes.c_double * 6)(*settings),
        core.pointers(tensors),
    )  # fmt: skip


def _kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
    tensors, options, contributors = args[:9], args[9:15], args[15]
    outputs = [core.empty(size, dtype) for size, dtype in _outputs(*args)]
    pointers = [core.pointer(out) if out.numel() else None for out in outputs]
    core.calls["splat_forward"](*_scene(core, tensors, options), contributors, *pointers)
    return tuple(outputs)


# image, alpha, depth, median, ids, weights, state, last
_INTEGER = (False, False, False, True, True, False, False, True)


def _outputs(position: torch.Tensor, *rest: Any) -> list[tuple[tuple, torch.dtype]]:
    """Shapes and types of the op's outputs, from its arguments."""
    _, _, _, payload, _, view, _, _, footprint, blend, height, width, _, _, contributors = rest
    pixels = (_views(position, view), height, width)
    median = pixels if blend == BLENDS["alpha"] else (0,)
    listed = (*pixels, contributors)
    channels = payload.shape[-1] + EXTRA_CHANNELS.get(footprint, 0)
    shapes = [(*pixels, channels), pixels, pixels, median, listed, listed, (*pixels, 2), pixels]
    return [(size, torch.int32 if integer else position.dtype) for size, integer in zip(shapes, _INTEGER)]


def _fake(position: torch.Tensor, *rest: Any) -> tuple[torch.Tensor, ...]:
    return tuple(position.new_empty(size, dtype=dtype) for size, dtype in _outputs(position, *rest))


def _setup(ctx: Any, inputs: tuple, output: tuple) -> None:
    image, alpha, depth, median, ids, weights, state, last = output
    ctx.mark_non_differentiable(median, ids, weights, state, last)
    ctx.save_for_backward(*inputs[:9], image, alpha, depth, state, last)
    ctx.options = inputs[9:15]


def _grad(ctx: Any, grad_image: Any, grad_alpha: Any, grad_depth: Any, *_: Any) -> tuple:
    if grad_image is None and grad_alpha is None and grad_depth is None:
        return (None,) * 16
    # needs_input_grad counts the layout argument of the function as well.
    wanted = list(ctx.needs_input_grad[1:10])
    grads = _backward_op(*ctx.saved_tensors, *ctx.options, grad_image, grad_alpha, grad_depth, wanted)
    return (*(grad if want else None for grad, want in zip(grads, wanted)), *(None,) * 7)


def _backward_kernel(core: Any, *args: Any) -> tuple[torch.Tensor, ...]:
    tensors, images, last, options, wanted = args[:9], args[9:13], args[13], args[14:20], args[23]
    grads_in = [None if g is None else g.contiguous() for g in args[20:23]]
    outputs = [core.empty(size, tensors[0].dtype) for size in _gradient_shapes(tensors, wanted)]
    pointers = core.pointers([out if want else None for out, want in zip(outputs, wanted)])
    core.calls["splat_backward"](
        *_scene(core, tensors, options), core.pointers(images), core.pointer(last), core.pointers(grads_in), pointers
    )
    return tuple(outputs)


def _gradient_shapes(tensors: Sequence[Any], wanted: Sequence[bool]) -> list[tuple]:
    return [tensor.shape if want else (0,) for tensor, want in zip(tensors, wanted)]


def _backward_fake(*args: Any) -> tuple[torch.Tensor, ...]:
    return tuple(args[0].new_empty(size) for size in _gradient_shapes(args[:9], args[23]))


_TENSORS = (
    "Tensor position, Tensor shape, Tensor? depth, Tensor opacity, Tensor payload, Tensor background, Tensor? view, "
    "Tensor? intrinsics, Tensor? gamma"
)
_OPTIONS = "int footprint, int blend, int height, int width, float[] settings, int limit"
_backward_op = register(
    f"splat_backward({_TENSORS}, Tensor image, Tensor alpha, Tensor depth_image, Tensor state, Tensor last, "
    f"{_OPTIONS}, Tensor? grad_image, Tensor? grad_alpha, Tensor? grad_depth, bool[] wanted) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_backward_kernel,
    fake=_backward_fake,
    any_core=True,
)
_op = register(
    f"splat({_TENSORS}, {_OPTIONS}, int contributors) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernel=_kernel,
    fake=_fake,
    setup=_setup,
    backward=_grad,
    any_core=True,
)
