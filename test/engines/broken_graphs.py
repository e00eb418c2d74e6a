"""Graphs of the tiny bundles with one constant changed: faults whose place is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from anomaly_seg_ros.bundle import Bundle

MakeBundle = Callable[..., Bundle]
"""(stage=graph, ...) -> a bundle with these graphs in the place of the sound ones."""


def set_constant(model: onnx.ModelProto, name: str, value: np.ndarray | np.float32) -> None:
    """Give an initialiser another value."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(value), name))


def constant(model: onnx.ModelProto, name: str) -> np.ndarray:
    """The value of an initialiser."""
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return numpy_helper.to_array(tensor)


def add_to_output(model: onnx.ModelProto, name: str, value: float) -> None:
    """Make the graph's output `name` larger by a constant."""
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == name:
                node.output[index] = f"{name}_before"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(value), f"{name}_error"))
    model.graph.node.append(helper.make_node("Add", [f"{name}_before", f"{name}_error"], [name]))
