"""What must be true of any call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from ops_common import random, threads
from torch import Tensor

from .arguments import described, listed, mapped, tensors
from .call import Call
from .compare import BOUNDS, Results, differs, same_bits, spread
from .draw import Draw
from .registry import GENERATORS
from .wrong import made_wrong

WRONG = 0.3  # of all calls
THREADS = (1, 2, 2, 3, 40)


class FaultError(AssertionError):
    """A violated requirement."""


def check(op: str, seed: int) -> None:
    """One case; raises a `FaultError`, or whatever else the call raises and must not."""
    draw = Draw(op, seed)
    call = GENERATORS[op](draw)
    if draw.chance(WRONG) and call.checked:
        _check_wrong(draw, call)
    else:
        _Sound(draw, call).check()


def _check_wrong(draw: Draw, call: Call) -> None:
    """A wrong argument is refused with an error that begins with its name, or that of one which it must fit."""
    arguments, what = made_wrong(draw, call.arguments)
    try:
        listed(call.function(**arguments))
    except (TypeError, ValueError) as error:
        names = "|".join(map(re.escape, arguments))
        if not re.match(rf"({names})\b[^:]*(:| is )|(frags\.\w+ holds|attr_tri\[)", str(error)):
            raise FaultError(f"{what}: the error does not name an argument: {type(error).__name__}: {error}") from error
    except Exception as error:
        if type(error).__name__ == "ShapeError":  # of unchecked arguments: raised by the tests themselves
            return
        raise FaultError(f"{what}: {type(error).__name__}: {error}; {described(arguments)}") from error


class _Sound:
    """A sound call."""

    def __init__(self, draw: Draw, call: Call) -> None:
        self.draw, self.call = draw, call
        floating = [path for path, value in tensors(call.arguments).items() if value.dtype.is_floating_point]
        self.wanted = draw.some(floating)
        self.threads = draw.choice(THREADS)
        self.ignored = [draw.chance(0.2) for _ in range(64)]
        self.double = mapped(call.arguments, lambda _, value: value.double() if value.is_floating_point() else value)

    def check(self) -> None:
        with threads(self.threads):
            actual = Run(self.call.function, self.call.arguments, self.wanted)
        with threads(1):
            again = Run(self.call.function, self.call.arguments, self.wanted)
            expected = Run(self.call.reference, self.double, self.wanted)
        self._same_bits("output", actual.outputs, again.outputs)
        self._kinds(actual.outputs, expected.outputs)
        masks = self._outputs(actual.outputs, expected.outputs)
        if not self.wanted:
            return
        with threads(self.threads):
            gradients = actual.gradients(masks, self.ignored)
        with threads(1):
            self._same_bits("gradient", gradients, again.gradients(masks, self.ignored))
            self._gradients(gradients, expected.gradients(masks, self.ignored), masks)

    def _same_bits(self, what: str, some: Results, others: Results) -> None:
        for name, value in some.items():
            if not same_bits(value, others[name]):
                self._fail(f"{what} {name!r} depends on the number of threads, {self.threads} or 1")

    def _kinds(self, actual: Results, expected: Results) -> None:
        if actual.keys() != expected.keys():
            self._fail(f"outputs {list(actual)}, by definition {list(expected)}")
        for name, value in expected.items():
            dtype = self.draw.dtype if value.dtype.is_floating_point else value.dtype
            if actual[name].shape != value.shape or actual[name].dtype != dtype:
                self._fail(f"output {name!r} is {described(actual[name])}, by definition {described(value)}")

    def _outputs(self, actual: Results, expected: Results) -> Results:
        """The elements that agree; the others must be such that rounding decides on them."""
        bound, _ = BOUNDS[self.draw.dtype]
        wrong = {name: differs(value, expected[name], bound) for name, value in actual.items()}
        for name in wrong:
            if name.split(".")[-1] in self.call.exact and wrong[name].any():
                self._fail(_report(f"output {name!r}", wrong[name], actual[name], expected[name]))
        tied = self.call.ties(expected, bound) if self.call.ties else torch.zeros((), dtype=torch.bool)
        tied = {name: _like(tied, where) for name, where in wrong.items()}
        if any((where & ~tied[name]).any() for name, where in wrong.items()):
            self._hold_to_spread("output", actual, expected, bound, self._outputs_of, tied)
        return _agreeing({name: where | tied[name] for name, where in wrong.items()})

    def _gradients(self, actual: Results, expected: Results, masks: Results) -> None:
        for name, value in actual.items():
            if value.isnan().any():
                self._fail(_report(f"gradient {name!r} is NaN", value.isnan(), value, expected[name]))
        _, bound = BOUNDS[self.draw.dtype]
        known = {name: torch.where(value.isfinite(), value, actual[name]) for name, value in expected.items()}
        if any(differs(actual[name], value, bound).any() for name, value in known.items()):

            def gradients_of(function: Callable[..., Any], arguments: dict[str, Any]) -> Results:
                return Run(function, arguments, self.wanted).gradients(masks, self.ignored)

            self._hold_to_spread("gradient", actual, known, bound, gradients_of)
        for name, value in expected.items():
            if value.isnan().any():
                self._fail(_report(f"gradient {name!r} by definition is NaN", value.isnan(), actual[name], value))

    def _outputs_of(self, function: Callable[..., Any], arguments: dict[str, Any]) -> Results:
        return Run(function, arguments, []).outputs

    def _hold_to_spread(self, what: str, actual: Results, expected: Results, bound: float,
                        evaluate: Callable[..., Results], tied: Results | None = None) -> None:  # fmt: skip
        reference = self.call.reference
        if self.draw.huge or (self.draw.extreme and self.draw.dtype == torch.float32):
            return
        room = spread(expected, lambda moved: evaluate(reference, moved), self.call.arguments, self.draw.dtype)
        for name, value in actual.items():
            wrong = differs(value, expected[name], bound, room[name])
            wrong = wrong & ~tied[name] if tied else wrong
            if wrong.any():
                self._fail(_report(f"{what} {name!r}", wrong, value, expected[name], room[name]))

    def _fail(self, message: str) -> None:
        options = f"threads={self.threads}, gradients of {self.wanted}, extreme={self.draw.extreme}"
        raise FaultError(f"{message}; {options}; {described(self.call.arguments)}")


class Run:
    """The results of a function for arguments, some of which require gradients."""

    def __init__(self, function: Callable[..., Any], arguments: dict[str, Any], wanted: list[str]) -> None:
        self._leaves: Results = {}
        self.outputs = tensors(function(**mapped(arguments, lambda p, v: self._leaf(p, v) if p in wanted else v)))

    def _leaf(self, path: str, value: Tensor) -> Tensor:
        self._leaves[path] = value.detach().requires_grad_()
        return self._leaves[path]

    def gradients(self, masks: Results, ignored: list[bool]) -> Results:
        """Gradients of a fixed sum of the masked elements of those outputs that are not ignored."""
        loss = torch.zeros(())
        if any(masks[name].shape != value.shape for name, value in self.outputs.items()):
            return {path: torch.full_like(leaf, torch.nan) for path, leaf in self._leaves.items()}
        for i, (name, value) in enumerate(self.outputs.items()):
            if value.requires_grad and not ignored[i % len(ignored)]:
                mask = masks[name] & value.isfinite()
                weight = random(*value.shape, seed=i, dtype=torch.float64).to(value.dtype)
                loss = loss + (torch.where(mask, value, 0) * weight).sum()
        if not loss.requires_grad:
            return {path: torch.zeros_like(leaf) for path, leaf in self._leaves.items()}
        found = torch.autograd.grad(loss, list(self._leaves.values()), allow_unused=True)
        return {path: torch.zeros_like(v) if g is None else g for (path, v), g in zip(self._leaves.items(), found)}


def _agreeing(wrong: Results) -> Results:
    """Where all outputs agree; for images, all values at a pixel."""
    pixels: dict[tuple[int, ...], Tensor] = {}
    for where in wrong.values():
        if where.dim() >= 3:
            there = where.flatten(3).any(-1) if where.dim() > 3 else where
            pixels[there.shape] = pixels.get(there.shape, torch.zeros(())).bool() | there
    masks = {}
    for name, where in wrong.items():
        masks[name] = ~where
        if where.dim() >= 3:
            there = pixels[where.shape[:3]]
            masks[name] = ~where & ~there.view(*there.shape, *[1] * (where.dim() - 3))
    return masks


def _like(pixels: Tensor, values: Tensor) -> Tensor:
    """A mask of pixels [N, H, W], or one number, as one of all values there."""
    return pixels.reshape(*pixels.shape, *[1] * (values.dim() - pixels.dim())).expand(values.shape)


def _report(what: str, where: Tensor, actual: Tensor, expected: Tensor, room: Tensor | None = None) -> str:
    """A description of the first difference."""
    place = tuple(where.nonzero()[0].tolist())
    text = f"{what}: {int(where.sum())} of {where.numel()}; at {place} {actual[place].item()!r}"
    text += f", by definition {expected[place].item()!r}"
    return text if room is None else f"{text}, which may be off by {room[place].item():.2g}"
