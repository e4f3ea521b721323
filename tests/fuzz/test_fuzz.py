"""A few hundred random calls, the same ones each time; `python -m tests.fuzz` makes others and more."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from fuzz import check, isolate
from fuzz.draw import Draw
from fuzz.isolate import Name
from fuzz.registry import ELSEWHERE, GENERATORS, METHODS, OPS, REGISTERED_ELSEWHERE
from lumigrad import blending, gradients
from lumigrad._engine.declare import DIRECTIONS
from lumigrad.ops import field, implicit, light, ray, soft, splat, surface, texture

CALLS = 12  # of each op
pytestmark = pytest.mark.cpu_only


@pytest.mark.parametrize("op", OPS)
def test_calls(op: str) -> None:
    for seed in range(CALLS):
        try:
            check.check(op, seed)
        except Exception as error:
            raise AssertionError(f"python -m tests.fuzz --replay '{Name(op, seed)}'") from error


def test_every_public_op_has_a_generator() -> None:
    public = {
        name for family in (field, implicit, light, ray, soft, splat, surface, texture) for name in family.__all__
    } - {"blending"}
    public |= {name for name in blending.__all__ if callable(getattr(blending, name))} - {"default_blur_radius"}
    public |= {METHODS.get(name, name) for name in gradients.METHODS}
    assert public - ELSEWHERE <= GENERATORS.keys()


class Reached(TorchDispatchMode):
    """Records which of lumigrad's registered ops run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "lumigrad":
            self.names.add(func._opname)
        return func(*args, **(kwargs or {}))


def test_every_registered_op_is_reached() -> None:
    """Every registered op is reached, including its gradient."""
    with Reached() as reached:
        for op in OPS:
            for seed in range(CALLS):
                call = GENERATORS[op](Draw(op, seed))
                floating = [p for p, v in check.tensors(call.arguments).items() if v.is_floating_point()]
                run = check.Run(call.function, call.arguments, floating)
                run.gradients({name: value == value for name, value in run.outputs.items()}, [False])
    assert reached.names == DIRECTIONS.keys() - REGISTERED_ELSEWHERE


def test_the_same_seed_is_the_same_case() -> None:
    for op in OPS:
        first, again = (check.tensors(GENERATORS[op](Draw(op, 5)).arguments) for _ in range(2))
        assert first.keys() == again.keys()
        assert all(check.same_bits(value, again[name]) for name, value in first.items())


def test_crashes_and_endless_calls_are_reported() -> None:
    """Crashes and endless calls are reported, and the cases after them still run."""
    names = [Name(op, 0) for op in ("right", "wrong", "crash", "raise", "sleep", "right")]
    outcomes = list(isolate.run(names, limit=3.0, module="fuzz.faulty"))
    assert [outcome.name for outcome in outcomes] == names
    for outcome, expected in zip(outcomes, (None, "values differ", "ended with -11", "KeyError", "no answer", None)):
        assert outcome.fault is None if expected is None else expected in str(outcome.fault)
