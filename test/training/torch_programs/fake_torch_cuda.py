"""torch.cuda as far as the torch backend needs it, on the CPU: streams, events and CUDA graphs.

A capture notes every operator with the very tensors it ran on, and leaves rubbish in what it made,
as a real one computes nothing. A replay runs the operators again into the same memory.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


class Stream:
    """Nothing is ever left to do on it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.waits = 0

    def synchronize(self) -> None:
        self.waits += 1


class Event:
    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: Stream) -> None:
        self.when = time.perf_counter()

    def elapsed_time(self, other: Event) -> float:
        return 1e3 * (other.when - self.when)


class Graph:
    """A CUDAGraph."""

    replays = 0  # of all of them

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        Graph.replays += 1
        for call, args, options, made in self.calls:
            again = tensors(call(*args, **options))
            for old, new in zip(tensors(made), again, strict=True):
                old.copy_(new)


class Recorder(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.graph.calls.append((func, args, kwargs or {}, made))
        return made


@contextmanager
def graph(captured: Graph, stream: Stream) -> Iterator[None]:
    with Recorder(captured):
        yield
    outside = set()
    inside = {}
    for _, args, options, made in captured.calls:
        for tensor in tensors((args, options)):
            if tensor.untyped_storage().data_ptr() not in inside:
                outside.add(tensor.untyped_storage().data_ptr())
        for tensor in tensors(made):
            if tensor.untyped_storage().data_ptr() not in outside:
                inside[tensor.untyped_storage().data_ptr()] = tensor
    for tensor in inside.values():
        tensor.fill_(1)  # a bool may be among them


@contextmanager
def nothing(_: object) -> Iterator[None]:
    yield


def install(patch: pytest.MonkeyPatch) -> None:
    """Put the fake in the place of torch.cuda; memory "on the GPU" and page-locked is plain."""
    Graph.replays = 0
    zeros, empty = torch.zeros, torch.empty

    def on_host(make: Any) -> Any:
        def made(*args: Any, pin_memory: bool = False, device: Any = None, **options: Any) -> Any:
            return make(*args, **options)

        return made

    patch.setattr(torch, "zeros", on_host(zeros))
    patch.setattr(torch, "empty", on_host(empty))
    for name, value in {
        "CUDAGraph": Graph,
        "Event": Event,
        "Stream": Stream,
        "device": nothing,
        "graph": graph,
        "stream": nothing,
    }.items():
        patch.setattr(torch.cuda, name, value)
