"""Code shared by all experiments: arguments, output files, and loops that can be resumed."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

matplotlib.use("Agg")
from matplotlib.figure import Figure


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """The arguments common to all experiments; outputs go to ``out/experiments/NAME`` by default."""
    made = argparse.ArgumentParser(prog=f"python -m experiments.{name}", description=description)
    made.add_argument("--quick", action="store_true", help="small settings: less than two minutes on two cores")
    made.add_argument("--out", type=Path, default=Path("out/experiments") / name, help="folder of the outputs")
    made.add_argument("--seed", type=int, default=0, help="of all random numbers")
    made.add_argument("--resume", action="store_true", help="go on from the state that an earlier run left in --out")
    return made


def add_device(made: argparse.ArgumentParser) -> None:
    """The argument of experiments that run on one device; `device_of` reads it."""
    made.add_argument("--device", help="cpu or cuda; by default cuda where there is one")


def device_of(args: argparse.Namespace) -> str:
    device: str = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    return device


class Run:
    """The folder of outputs of one run.

    A state can only be resumed by a run with the same arguments. A run without --resume removes any existing states.
    """

    def __init__(self, name: str, args: argparse.Namespace) -> None:
        self.name, self.folder, self.resume = name, Path(args.out), bool(args.resume)
        self.settings = {k: repr(v) for k, v in sorted(vars(args).items()) if k not in ("out", "resume")}
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.resume:
            for old in self.folder.glob("state*.pt"):
                old.unlink()

    def path(self, file: str) -> Path:
        return self.folder / file

    def save_json(self, results: dict[str, Any], name: str = "results.json") -> None:
        self.path(name).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")

    def save_figure(self, figure: Figure, name: str) -> None:
        figure.savefig(self.path(name))
        print(f"wrote {self.path(name)}")

    def save_state(self, file: str = "state.pt", **values: Any) -> None:
        """Saves tensors, numbers, and lists and dictionaries of them. An interruption leaves either the old or the new
        state.
        """
        unfinished = self.path(file + ".part")
        torch.save({"settings": self.settings, "values": values}, unfinished)
        os.replace(unfinished, self.path(file))

    def load_state(self, file: str = "state.pt") -> dict[str, Any] | None:
        """The values given to `save_state`; None without --resume, or if there is no state yet.

        Raises:
            ValueError: the state belongs to other arguments.
        """
        if not self.resume or not self.path(file).exists():
            return None
        state = torch.load(self.path(file), weights_only=True)
        if state["settings"] != self.settings:
            raise ValueError(f"--resume: expected the arguments of {self.path(file)}, {state['settings']}, "
                             f"got {self.settings}")  # fmt: skip
        values: dict[str, Any] = state["values"]
        return values


def steps(
    run: Run, name: str, count: int, optimiser: torch.optim.Optimizer, series: list[Any], every: int = 500
) -> Iterator[int]:
    """The steps of one fit, resumed where an earlier run stopped. Saves the state after every `every` steps.

    Args:
        run, name: the state is ``state-NAME.pt`` in the run's folder.
        count: steps of the whole fit. A finished fit yields none and restores its final state.
        optimiser: its parameters and its own state are saved and restored.
        series: the fit's record, one or more numbers per step; restored in place.
    """
    file = f"state-{name}.pt"
    parameters: list[Tensor] = [p for group in optimiser.param_groups for p in group["params"]]
    state = run.load_state(file)
    start = 0
    if state is not None:
        start = int(state["step"])
        series[:] = state["series"]
        optimiser.load_state_dict(state["optimiser"])
        with torch.no_grad():
            for parameter, saved in zip(parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
    for step in range(start, count):
        yield step
        if (step + 1) % every == 0 or step + 1 == count:
            run.save_state(
                file,
                step=step + 1,
                series=series,
                optimiser=optimiser.state_dict(),
                parameters=[p.detach() for p in parameters],
            )


def generator(*numbers: int) -> torch.Generator:
    """A random generator seeded by `numbers`, so that the numbers of a step do not depend on earlier steps."""
    mixed = 0
    for number in numbers:
        mixed = (mixed * 1_000_003 + number) % 2**63
    return torch.Generator().manual_seed(mixed)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate
