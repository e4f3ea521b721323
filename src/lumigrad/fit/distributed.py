"""Fits by several processes: their communication, and the handling of lost processes.

This is the only module that knows torch.distributed, which it imports where there are several processes.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from lumigrad._launcher import group_size as group_size

# How long the others wait for a silent process whose connection is open.
_PATIENCE = timedelta(minutes=10)
# How long they wait for a sign of life from the first process, after one was lost.
_ROLL_CALL = timedelta(seconds=3)


class LostProcessError(RuntimeError):
    """A process of the group has ended, or cannot be reached.

    Attributes:
        saved: whether it is this process that has saved the state after the last step, or tells what is left of it.
        lost_with_it: whether a part of the state is lost with the process, so that the state that was saved before is
            what is left.
        kept: after how many steps that was; None where nothing had been saved.
    """

    saved: bool = False
    lost_with_it: bool = False
    kept: int | None = None


class Group:
    """The processes of a fit. All hold the same state and take the same steps, each with a part of the step's work.
    Every method that exchanges something is to be called by all, and raises LostProcessError where one is lost.

    The group of this class is one process, which has all of the work and exchanges nothing. `join` makes groups of
    several.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.

    >>> import torch
    >>> from lumigrad.fit.distributed import ALONE
    >>> ALONE.share(8), ALONE.is_first, ALONE.sum([torch.ones(2)])
    (slice(0, 8, None), True, [tensor([1., 1.])])
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and tells the user."""
        return self.rank == 0

    def share(self, count: int, what: str = "count") -> slice:
        """This process's share of `count` items: shares are as equal as possible, in the order of ranks.

        Raises:
            ValueError: there are fewer things than processes.

        >>> from lumigrad.fit.distributed import Group
        >>> second = Group()
        >>> second.rank, second.size = 1, 3
        >>> second.share(8)
        slice(2, 5, None)
        """
        if count < self.size:
            raise ValueError(f"{what}: expected at least one for each of {self.size} processes, got {count}")
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all processes, the same bits in each."""
        return list(tensors)

    def sum_gradients(self, parameters: Sequence[Tensor], more: Sequence[Tensor] = ()) -> list[Tensor]:
        """Replace the gradients of parameters by their sums; returns the sums of more tensors.

        A parameter that has a gradient in one process has one in all.
        """
        return list(more)

    def first(self, value: float) -> float:
        """The first process's value."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def joined(self, values: Tensor) -> Tensor:
        """The rows [R, ...] of all processes, in the order of ranks; each may have another number of them."""
        return values

    def exchange(
        self, rows: Tensor, counts: Sequence[int], coming: Sequence[int] | None = None
    ) -> tuple[Tensor, list[int]]:
        """Send rows to each process, and receive those that each has for this one.

        Args:
            rows: [S, ...], those for the first process, then those for the second one, and so on.
            counts: how many of them are for each process.
            coming: how many rows each process has for this one, where all know that; None to have them tell.

        Returns:
            The rows received, in the order of their senders' ranks, and how many each has sent.
        """
        return rows, list(counts)

    def to_first(self, rows: Tensor, into: Tensor | None) -> None:
        """Bring the rows of all processes to the first one, one process after the other.

        Args:
            into: there: where to write them, in the order of ranks; on the CPU, perhaps a file in memory.
        """
        assert into is not None
        into.copy_(rows)

    def from_first(self, rows: Tensor | None, into: Tensor) -> None:
        """The reverse of `to_first`: rows [R, ...] of the first process to all, of each as many as `into` has."""
        assert rows is not None
        into.copy_(rows)

    def copied(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returns in the first process, where alone it is called: tensors (on the CPU) and plain values.

        Raises:
            LostProcessError: in the others, where `make` raises an error in the first one.
        """
        return make()

    def saves(self) -> bool:
        """After a process was lost: whether this process saves the state.

        It is the first one, or another if the first one is lost.
        """
        return True

    def speaks(self) -> bool:
        """Whether this process, out of those that ask, reports an error to the user."""
        return True

    def leave(self) -> None:
        """End the exchange; the process runs alone from now on."""


ALONE = Group()


def join() -> Group:
    """The group of the processes that torchrun, or another launcher that sets its variables, has started.

    Tensors on the CPU are exchanged by gloo, those on CUDA devices by NCCL; each process has the device of its
    LOCAL_RANK. A process that no launcher has started is alone.

    Raises:
        LostProcessError: the processes do not find each other.

    >>> from lumigrad.fit.distributed import join
    >>> join().size
    1
    """
    return ALONE if group_size() < 2 else _Joined()


class _Joined(Group):
    """Several processes."""

    def __init__(self) -> None:
        import torch.distributed

        self._torch = torch.distributed
        backend = "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
            backend = "cpu:gloo,cuda:nccl"
        with _connected():
            self._torch.init_process_group(backend, timeout=_PATIENCE)
        self.rank, self.size = self._torch.get_rank(), self._torch.get_world_size()

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        # One message for all tensors of a kind, because a message costs more than its contents.
        summed = [tensor.detach() for tensor in tensors]
        kinds = [(tensor.dtype, tensor.device) for tensor in summed]
        for kind in dict.fromkeys(kinds):
            numbers = [number for number, other in enumerate(kinds) if other == kind]
            flat = torch.cat([summed[number].reshape(-1) for number in numbers])
            self._check_length(len(flat))
            with _connected():
                self._torch.all_reduce(flat)
            parts = flat.split([summed[number].numel() for number in numbers])
            for number, part in zip(numbers, parts, strict=True):
                summed[number] = part.view(summed[number].shape)
        return summed

    def sum_gradients(self, parameters: Sequence[Tensor], more: Sequence[Tensor] = ()) -> list[Tensor]:
        given = parameters[0].new_tensor([float(parameter.grad is not None) for parameter in parameters])
        grads = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        given, *summed = self.sum([given, *grads, *more])
        for parameter, count, grad in zip(parameters, given.tolist(), summed[: len(grads)], strict=True):
            parameter.grad = grad if count else None
        return summed[len(grads) :]

    def first(self, value: float) -> float:
        told = torch.tensor([value], dtype=torch.float64, device="cpu")
        with _connected():
            self._torch.broadcast(told, 0)
        return float(told)

    def any(self, flag: bool) -> bool:
        told = torch.tensor([int(flag)], device="cpu")
        with _connected():
            self._torch.all_reduce(told, self._torch.ReduceOp.MAX)
        return bool(told)

    def joined(self, values: Tensor) -> Tensor:
        if values.dtype == torch.bool:  # which not every backend supports
            return self.joined(values.to(torch.uint8)).bool()
        counts = self._counts(len(values))
        # The same number of rows from each process, as collective calls require.
        padded = torch.cat([values, values.new_zeros(max(counts) - len(values), *values.shape[1:])])
        parts = [torch.empty_like(padded) for _ in counts]
        with _connected():
            self._torch.all_gather(parts, padded.contiguous())
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def exchange(
        self, rows: Tensor, counts: Sequence[int], coming: Sequence[int] | None = None
    ) -> tuple[Tensor, list[int]]:
        if coming is None:
            given = torch.tensor(list(counts), device="cpu")
            told = torch.empty_like(given)
            with _connected():
                self._torch.all_to_all_single(told, given)
            coming = told.tolist()
        received = rows.new_empty(sum(coming), *rows.shape[1:])
        with _connected():
            self._torch.all_to_all_single(received, rows.contiguous(), list(coming), list(counts))
        return received, list(coming)

    def to_first(self, rows: Tensor, into: Tensor | None) -> None:
        counts = self._counts(len(rows))
        rows = rows.detach().cpu().contiguous()
        if into is None:
            with _connected():
                self._torch.send(rows, 0)
            return
        parts = into.split(counts)
        parts[0].copy_(rows)
        for rank in range(1, self.size):
            with _connected():
                self._torch.recv(parts[rank], rank)

    def from_first(self, rows: Tensor | None, into: Tensor) -> None:
        counts = self._counts(len(into))
        if rows is None:
            own = torch.empty_like(into, device="cpu")
            with _connected():
                self._torch.recv(own, 0)
            into.copy_(own)
            return
        parts = rows.split(counts)
        into.copy_(parts[0])
        for rank in range(1, self.size):
            with _connected():
                self._torch.send(parts[rank].contiguous(), rank)

    def copied(self, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if not self.is_first:
            return self._received()
        try:
            values = make()
        except BaseException:
            self.first(-1)
            raise
        file = io.BytesIO()
        torch.save(values, file)
        content = torch.frombuffer(file.getbuffer(), dtype=torch.uint8)
        self.first(len(content))
        with _connected():
            self._torch.broadcast(content, 0)
        return values

    def saves(self) -> bool:
        store = self._store()
        try:
            if self.is_first:
                store.set("lumigrad/first", "here")
                return True
            store.wait(["lumigrad/first"], _ROLL_CALL)
            return False
        except RuntimeError:  # the process is gone, or the store itself is lost
            return self._asks_first("deputies")

    def speaks(self) -> bool:
        return self._asks_first("speakers")

    def leave(self) -> None:
        self._torch.destroy_process_group()

    def _received(self) -> dict[str, Any]:
        count = int(self.first(0))
        if count < 0:
            raise LostProcessError("the first process could not begin")
        content = torch.empty(count, dtype=torch.uint8, device="cpu")
        with _connected():
            self._torch.broadcast(content, 0)
        values: dict[str, Any] = torch.load(
            io.BytesIO(content.numpy().tobytes()), map_location="cpu", weights_only=True
        )
        return values

    def _asks_first(self, what: str) -> bool:
        try:
            return bool(self._store().add(f"lumigrad/{what}", 1) == 1)
        except RuntimeError:
            return self.is_first

    def _counts(self, count: int) -> list[int]:
        """The numbers from all processes."""
        told = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(self.size)]
        with _connected():
            self._torch.all_gather(told, torch.tensor([count], device="cpu"))
        return [int(one) for one in told]

    def _store(self) -> Any:
        """The launcher's store for all processes, which survives the loss of some."""
        return self._torch.distributed_c10d._get_default_store()

    def _check_length(self, count: int) -> None:
        """Check that all processes send the same amount: gloo would mix up messages otherwise."""
        ends = torch.tensor([count, -count], device="cpu")
        with _connected():
            self._torch.all_reduce(ends, self._torch.ReduceOp.MAX)
        if int(ends[0]) != -int(ends[1]):
            raise LostProcessError("the processes have come apart; run them on processors of one kind")


def exchanged(
    group: Group, rows: Tensor, counts: Sequence[int], coming: Sequence[int] | None = None
) -> tuple[Tensor, list[int]]:
    """`Group.exchange` with gradients: those of rows received go back to the processes that sent the rows.

    All processes must run the backward pass, too, and in the same order where there are several exchanges.

    Args:
        group: the processes, each of which calls this.
        rows: [S, ...], those for the first process, then those for the second one, and so on.
        counts: how many of them are for each process.
        coming: how many rows each process has for this one, where all know that; None to have them tell.

    Returns:
        The rows received [R, ...], in the order of their senders' ranks, and how many each has sent.

    Raises:
        ValueError: `counts` does not say of each process how many of the rows it gets.
        LostProcessError: a process is lost.

    >>> import torch
    >>> from lumigrad.fit.distributed import exchanged, join
    >>> group = join()
    >>> own = torch.arange(3.0, requires_grad=True)
    >>> received, counts = exchanged(group, own, [3])  # in one process: to itself
    >>> received.square().sum().backward()
    >>> own.grad, counts
    (tensor([0., 2., 4.]), [3])
    """
    if len(counts) != group.size or sum(counts) != len(rows) or min(counts) < 0:
        raise ValueError(f"counts: expected {group.size} numbers whose sum is {len(rows)}, got {list(counts)}")
    told: list[int] = []
    received: Tensor = _Exchange.apply(rows, group, list(counts), coming, told)  # type: ignore[no-untyped-call]
    return received, told


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, group: Group, counts: list[int], coming: Sequence[int] | None, told: list[int]
    ) -> Tensor:
        received, ctx.coming = group.exchange(rows, counts, coming)
        told.extend(ctx.coming)
        ctx.group, ctx.counts = group, counts
        return received.view_as(received)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return ctx.group.exchange(grads[0], ctx.coming, ctx.counts)[0], None, None, None, None


@contextmanager
def _connected() -> Iterator[None]:
    """Converts errors of torch.distributed, whose types differ between backends, to one type."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise LostProcessError("another process has ended, or cannot be reached") from error
