"""fp16 graphs with fp32 islands: convolutions and what joins them in fp16, everything else in fp32.

What stays in fp32, because halves lose it: preprocessing, statistics of norms, softmax, logarithm,
entropy, cosine and every other reduction, the resizing of scores, all ends of the graph, and
whatever touches a tensor that the range report names.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from training.precision.graphs import WEIGHTED, float_tensors, initialiser_names, makers, readers
from training.precision.ranges import TensorRange, constant_ranges

# What joins convolutions without adding many values up: fp16 where a fp16 result comes in and a
# convolution waits.
JOINTS = frozenset(
    (
        "Add",
        "Clip",
        "Concat",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GreaterOrEqual",
        "Identity",
        "LeakyRelu",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "PRelu",
        "Pad",
        "Relu",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unsqueeze",
        "Where",
    )
)
LOGIC = frozenset(("And", "Not", "Or", "Xor"))  # what comparisons of halves become
FLOAT_ONLY = {"Resize": (1, 2)}  # slots that stay fp32: regions and scales


@dataclass(frozen=True)
class MixedGraph:
    """A graph, and what was decided about it."""

    model: onnx.ModelProto
    halves: tuple[str, ...]  # nodes in fp16
    casts: int
    named: Mapping[str, str]  # tensor -> why its nodes stayed in fp32, from the range report


def mixed_precision(
    model: onnx.ModelProto, ranges: Mapping[str, TensorRange], kept: Collection[str] = ()
) -> MixedGraph:
    """A prepared fp32 graph with its convolutional trunks in fp16.

    ranges: of its activations (`measure_ranges`). kept: names of nodes that stay in fp32 besides.
    Names, dtypes and shapes of all inputs and outputs stay as they are.
    """
    faults = {
        name: entry.fault
        for name, entry in {**constant_ranges(model), **ranges}.items()
        if entry.fault
    }
    halves = _half_nodes(model, set(faults), set(kept))
    held = _half_nodes(model, set(), set(kept)) - halves
    touched = {
        name: faults[name]
        for node in model.graph.node
        if node.name in held
        for name in (*node.input, *node.output)
        if name in faults
    }
    converted = copy.deepcopy(model)
    casts = _convert(converted, halves, float_tensors(model))
    onnx.checker.check_model(converted, full_check=True)
    return MixedGraph(converted, tuple(sorted(halves)), casts, touched)


def _half_nodes(model: onnx.ModelProto, faults: set[str], kept: set[str]) -> set[str]:
    """Names of the nodes that run in fp16."""
    floats, made, read = float_tensors(model), makers(model), readers(model)

    def allowed(node: onnx.NodeProto) -> bool:
        return node.name not in kept and not faults & {*node.input, *node.output}

    reached: set[str] = set()
    for node in model.graph.node:
        inputs = [made[name].name for name in node.input if name in made and name in floats]
        joins = node.op_type in JOINTS and any(name in reached for name in inputs)
        if allowed(node) and (node.op_type in WEIGHTED or joins):
            reached.add(node.name)
    halves: set[str] = set()
    logic: set[str] = set()  # on the way to a node in fp16
    for node in reversed(model.graph.node):
        readers_of = (reader.name for name in node.output for reader in read.get(name, ()))
        waits = any(name in halves or name in logic for name in readers_of)
        if node.op_type in LOGIC and waits:
            logic.add(node.name)
        elif node.name in reached and (node.op_type in WEIGHTED or waits):
            halves.add(node.name)
    return halves


def _convert(model: onnx.ModelProto, halves: set[str], floats: set[str]) -> int:
    """Put fp16 nodes between casts, in place; the number of casts."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    read = readers(model)
    there: set[str] = set()  # tensors with a twin in fp16
    nodes: list[onnx.NodeProto] = []
    casts = 0
    for node in list(graph.node):
        if node.name not in halves:
            nodes.append(node)
            continue
        for slot, name in enumerate(node.input):
            constant = constants.get(name)
            single = name in floats or (
                constant is not None and constant.data_type == TensorProto.FLOAT
            )
            if not single or slot in FLOAT_ONLY.get(node.op_type, ()):
                continue
            if name not in there:
                there.add(name)
                if constant is not None:
                    values = numpy_helper.to_array(constant).astype(np.float16)
                    graph.initializer.append(numpy_helper.from_array(values, _twin(name)))
                else:
                    nodes.append(_cast(name, _twin(name), TensorProto.FLOAT16))
                    casts += 1
            node.input[slot] = _twin(name)
        nodes.append(node)
        for slot, name in enumerate(node.output):
            if name not in floats:
                continue  # a comparison's bool
            there.add(name)
            node.output[slot] = _twin(name)
            waits = any(reader.name not in halves for reader in read.get(name, ()))
            if waits or name in outputs:
                nodes.append(_cast(_twin(name), name, TensorProto.FLOAT))
                casts += 1
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    used = {name for node in nodes for name in node.input}
    unread = [name for name in initialiser_names(model) if name not in used]
    for name in unread:
        graph.initializer.remove(next(t for t in graph.initializer if t.name == name))
    return casts


def _twin(name: str) -> str:
    return f"{name}_fp16"


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to)
