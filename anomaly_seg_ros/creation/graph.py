"""A user's network between a camera image and a bundle's tensors, as one graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.compose
from onnx import NodeProto, TensorProto, helper, numpy_helper

from anomaly_seg_ros.bundle_parts import IMAGE, TensorSpec
from anomaly_seg_ros.creation.network import Network, upgraded
from anomaly_seg_ros.creation.options import Preprocessing
from anomaly_seg_ros.creation.outputs import Chosen
from anomaly_seg_ros.creation.scores import SCORES
from anomaly_seg_ros.errors import BundleError

PREFIX = "network/"  # of the network's own names, so that none meets one of a bundle
IR_VERSION = 10
ELEMENTS = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}


def build_graph(
    network: Network, chosen: Chosen, arrays: Mapping[str, np.ndarray], score: str
) -> tuple[onnx.ModelProto, tuple[TensorSpec, ...]]:
    """image uint8 [1, H, W, 3] -> logits (where there are some), labels, score; and their specs.

    arrays: the chosen tensors as the network made them. score: a rule, unused with `chosen.score`.
    Raises BundleError when the network cannot be brought to a supported opset or does not fit.
    """
    inner = onnx.compose.add_prefix(upgraded(network), PREFIX)
    specs = output_specs(chosen, arrays)
    nodes, constants = _image_nodes(network.preprocessing, PREFIX + network.input)
    after, more = _output_nodes(chosen, arrays, specs, score)
    constants.update(more)
    graph = inner.graph
    taken = [PREFIX + name for name in (chosen.logits, chosen.labels, chosen.score) if name]
    network_nodes, weights = _needed(graph, taken)
    for node in network_nodes:
        node.doc_string = ""
        del node.metadata_props[:]  # paths of the machine that exported it
    height, width = network.size
    made = helper.make_graph(
        [*nodes, *network_nodes, *after],
        "segmentation",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, [1, height, width, 3])],
        [helper.make_tensor_value_info(s.name, ELEMENTS[s.dtype], s.shape) for s in specs],
        [*weights, *(numpy_helper.from_array(value, name) for name, value in constants.items())],
        sparse_initializer=graph.sparse_initializer,
    )
    model = helper.make_model(
        made,
        opset_imports=inner.opset_import,
        ir_version=max(inner.ir_version, IR_VERSION),
        producer_name="anomaly-seg bundle create",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{network.path.name} does not fit between image and labels: {reason}: export it again "
            f"at {height}x{width}"
        ) from error
    return model, specs


def output_specs(chosen: Chosen, arrays: Mapping[str, np.ndarray]) -> tuple[TensorSpec, ...]:
    """What the bundle's stage makes, in order."""
    specs = []
    if chosen.logits is not None:
        shape = arrays[chosen.logits].shape
        if chosen.class_axis == 3:
            shape = (shape[0], shape[3], shape[1], shape[2])
        specs.append(TensorSpec("logits", "float32", shape))
        grid = shape[2:]
    else:
        grid = _grid(arrays[chosen.labels or ""])
    specs.append(TensorSpec("labels", "uint8", (1, *grid)))
    if chosen.score is not None:
        grid = _grid(arrays[chosen.score])
    specs.append(TensorSpec("score", "float32", (1, *grid)))
    return tuple(specs)


def _grid(array: np.ndarray) -> tuple[int, int]:
    """Rows and columns of a map [1, h, w] that may have one channel."""
    shape = array.shape[1:]
    if len(shape) == 3:
        shape = shape[1:] if shape[0] == 1 else shape[:2]
    return shape[0], shape[1]


def _image_nodes(
    preprocessing: Preprocessing, output: str
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """image -> what the network reads. uint8 goes no further than the first cast."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": TensorProto.FLOAT})]
    constants: dict[str, np.ndarray] = {}
    if preprocessing.channels == "bgr":
        constants["image/bgr"] = np.array([2, 1, 0], np.int64)
        steps.append(("Gather", ["image/bgr"], {"axis": 3}))
    if preprocessing.layout == "nchw":
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    shape = (1, 3, 1, 1) if preprocessing.layout == "nchw" else (1, 1, 1, 3)
    if (preprocessing.scale != 1).any():
        constants["image/scale"] = preprocessing.scale.reshape(shape)
        steps.append(("Mul", ["image/scale"], {}))
    if preprocessing.offset.any():
        constants["image/offset"] = preprocessing.offset.reshape(shape)
        steps.append(("Add", ["image/offset"], {}))
    nodes, source = [], IMAGE
    for index, (operator, more, attributes) in enumerate(steps):
        target = output if index == len(steps) - 1 else f"image/{operator.lower()}"
        name = f"image/{operator}"
        nodes.append(helper.make_node(operator, [source, *more], [target], name, **attributes))
        source = target
    return nodes, constants


def _output_nodes(
    chosen: Chosen, arrays: Mapping[str, np.ndarray], specs: Sequence[TensorSpec], score: str
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """The network's tensors -> logits, labels, score."""
    nodes: list[NodeProto] = []
    constants: dict[str, np.ndarray] = {}
    if chosen.logits is not None:
        logits = PREFIX + chosen.logits
        if chosen.class_axis == 3:
            perm = [0, 3, 1, 2]
            nodes.append(
                helper.make_node("Transpose", [logits], ["logits"], "logits/Transpose", perm=perm)
            )
        else:
            nodes.append(helper.make_node("Identity", [logits], ["logits"], "logits/Identity"))
        nodes.append(
            helper.make_node(
                "ArgMax", ["logits"], ["labels/ids"], "labels/ArgMax", axis=1, keepdims=0
            )
        )
    else:
        ids, more = _as_map(PREFIX + (chosen.labels or ""), arrays[chosen.labels or ""], "labels")
        nodes.append(ids)
        constants.update(more)
    nodes += [
        helper.make_node(
            "Cast", ["labels/ids"], ["labels/numbers"], "labels/Cast", to=TensorProto.FLOAT
        ),
        helper.make_node(
            "Cast", ["labels/numbers"], ["labels"], "labels/Cast_1", to=TensorProto.UINT8
        ),
    ]
    if chosen.score is not None:
        node, more = _as_map(PREFIX + chosen.score, arrays[chosen.score], "score")
        nodes.append(node)
    else:
        classes = next(spec.shape[1] for spec in specs if spec.name == "logits")
        rule, more = SCORES[score].nodes(classes)
        nodes += rule
    return nodes, {**constants, **more}


def _as_map(source: str, array: np.ndarray, name: str) -> tuple[NodeProto, dict[str, np.ndarray]]:
    """A node that drops the one channel of [1, 1, h, w] or [1, h, w, 1], if there is one."""
    target = "labels/ids" if name == "labels" else name
    if array.ndim == 3:
        return helper.make_node("Identity", [source], [target], f"{name}/Identity"), {}
    axis = np.array([1 if array.shape[1] == 1 else 3], np.int64)
    channel = f"{name}/channel"
    node = helper.make_node("Squeeze", [source, channel], [target], f"{name}/Squeeze")
    return node, {channel: axis}


def _needed(
    graph: onnx.GraphProto, wanted: Iterable[str]
) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes and weights that the wanted tensors come from: heads for training are left out."""
    needed = set(wanted)
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_read_by(node))
    return nodes[::-1], [tensor for tensor in graph.initializer if tensor.name in needed]


def _read_by(node: NodeProto) -> set[str]:
    """Inputs of a node, and what its inner graphs read from outside."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for child in inner.node:
                names |= _read_by(child)
            names.update(output.name for output in inner.output)
    return names
