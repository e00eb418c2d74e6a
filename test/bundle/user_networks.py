"""Networks as users bring them: small, untrained, in the forms that exporters write.

`write_network` gives a segmentation network of stride 2: Conv, Relu, minus the mean over the
picture, Conv to class scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5
WIDTH = 8
FLOAT = TensorProto.FLOAT


def write_network(
    path: Path,
    *,
    opset: int = 18,
    layout: str = "nchw",
    size: tuple[int | str, int | str] = (32, 64),
    batch: int | str = 1,
    channels: int = 3,
    tail: Sequence[onnx.NodeProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    constants: dict[str, np.ndarray] | None = None,
    scale: float = 1.0,
) -> Path:
    """Write a network whose class scores are the tensor `scores`.

    tail: nodes after it; outputs: the graph's outputs (default: `scores`). scale: of the scores.
    """
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.normal(0, 0.4, (WIDTH, channels, 3, 3)).astype(np.float32),
        "b1": rng.normal(0, 0.1, WIDTH).astype(np.float32),
        "w2": (scale * rng.normal(0, 1, (CLASSES, WIDTH, 1, 1))).astype(np.float32),
        **(constants or {}),
    }
    first = "image_planes" if layout == "nhwc" else "input"
    nodes = []
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", ["input"], [first], perm=[0, 3, 1, 2]))
    nodes += [
        helper.make_node(
            "Conv", [first, "w1", "b1"], ["c1"], "conv1", strides=[2, 2], pads=[1] * 4
        ),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        _mean(opset, weights),
        helper.make_node("Sub", ["r1", "mean"], ["centred"], "sub"),
    ]
    last = "planes" if layout == "nhwc" else "scores"
    nodes.append(helper.make_node("Conv", ["centred", "w2"], [last], "conv2"))
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", [last], ["scores"], perm=[0, 2, 3, 1]))
    shape = [batch, channels, *size] if layout == "nchw" else [batch, *size, channels]
    inputs = [helper.make_tensor_value_info("input", FLOAT, shape)]
    if opset < 10:  # weights were inputs too before IR version 4
        inputs += [output(name, FLOAT, value.ndim) for name, value in weights.items()]
    model = helper.make_model(
        helper.make_graph(
            [*nodes, *tail],
            "user",
            inputs,
            list(outputs) if outputs is not None else [output("scores")],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=3 if opset < 10 else 8,
        producer_name="test",
    )
    onnx.save(model, path)
    return path


def _mean(opset: int, weights: dict[str, np.ndarray]) -> onnx.NodeProto:
    """The mean over the picture, whose axes moved from an attribute to an input at opset 18."""
    if opset < 18:
        return helper.make_node("ReduceMean", ["r1"], ["mean"], "mean", axes=[2, 3], keepdims=1)
    weights["axes"] = np.array([2, 3], np.int64)
    return helper.make_node("ReduceMean", ["r1", "axes"], ["mean"], "mean", keepdims=1)


def output(name: str, dtype: int = FLOAT, rank: int = 4) -> onnx.ValueInfoProto:
    """A graph output whose dimensions are left open, as many exporters do."""
    return helper.make_tensor_value_info(name, dtype, [f"{name}_{axis}" for axis in range(rank)])


def graph(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, Any] | None = None,
    opset: int = 18,
) -> onnx.ModelProto:
    """A model of these nodes, unchecked."""
    tensors = [numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()]
    return helper.make_model(
        helper.make_graph(list(nodes), "rules", list(inputs), list(outputs), tensors),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
