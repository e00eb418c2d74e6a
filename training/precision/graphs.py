"""ONNX graphs as the conversions need them: constants folded, every node named, dtypes known."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from training.precision.errors import PrecisionError

WHOLE = (TensorProto.INT32, TensorProto.INT64)
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # where time and weights are


def prepared(file: Path) -> onnx.ModelProto:
    """The fp32 graph of a stage with constants folded (weights stored in fp16 too), batch norms
    merged into convolutions or written as a product and a sum, every node named and every tensor's
    shape known.

    Raises PrecisionError when ONNX Runtime cannot prepare it.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "prepared.onnx"
        try:
            quant_pre_process(str(file), str(out), skip_symbolic_shape=True)
        except Exception as error:  # the runtime raises many classes of its own; none is public
            raise PrecisionError(
                f"{file.name} cannot be prepared by ONNX Runtime ({error}): export the stage again "
                "as a single file of static shape"
            ) from error
        model = onnx.load(out)
    _write_norms_out(model)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    forget_unused_domains(model)
    return model


def with_bytes_at_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """A prepared graph as TensorRT takes it, which casts uint8 from and to floats and computes
    nothing else with it: images are turned after the cast, not before, and numbers of classes
    become floats before they become bytes. On CPUs it costs a little."""
    model = copy.deepcopy(model)
    graph, read = model.graph, readers(model)
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    nodes: list[onnx.NodeProto] = []
    turned: dict[str, onnx.NodeProto] = {}  # a tensor of turned bytes -> the node that turned them
    for node in graph.node:
        source = node.input[0] if node.input else ""
        if node.op_type == "Transpose" and types.get(source) == TensorProto.UINT8:
            takers = read.get(node.output[0], [])
            if takers and all(taker.op_type == "Cast" for taker in takers):
                turned[node.output[0]] = node
                continue
        if node.op_type == "Cast" and source in turned:
            early = f"{node.output[0]}_unturned"
            turn = turned[source]
            nodes.append(helper.make_node("Cast", [turn.input[0]], [early], name=node.name))
            nodes[-1].attribute.extend(node.attribute)
            nodes.append(helper.make_node("Transpose", [early], node.output, name=turn.name))
            nodes[-1].attribute.extend(turn.attribute)
            continue
        to = next((a.i for a in node.attribute if a.name == "to"), None)
        if (node.op_type, to) == ("Cast", TensorProto.UINT8) and types.get(source) in WHOLE:
            number = f"{node.output[0]}_number"
            nodes.append(helper.make_node("Cast", [source], [number], to=TensorProto.FLOAT))
            node.input[0] = number
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return onnx.shape_inference.infer_shapes(model)


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all fp32 activations: inputs, outputs and what nodes make, without initialisers."""
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    return {v.name for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT}


def initialiser_names(model: onnx.ModelProto) -> set[str]:
    """Names of the constants."""
    return {tensor.name for tensor in model.graph.initializer}


def makers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Tensor -> the node that makes it."""
    return {name: node for node in model.graph.node for name in node.output if name}


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Tensor -> the nodes that read it, in order."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            found.setdefault(name, []).append(node)
    return found


def weighted_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Convolutions and matrix products, in order."""
    return (node for node in model.graph.node if node.op_type in WEIGHTED)


def first_and_last(model: onnx.ModelProto, ends: Iterable[str]) -> set[str]:
    """Names of the weighted nodes that nothing but preprocessing of an image or of labels comes
    before, and of those that nothing weighted follows on the way to `ends` (heads)."""
    made = makers(model)
    integers = {
        value.name
        for value in model.graph.input
        if value.type.tensor_type.elem_type != TensorProto.FLOAT
    }
    found: set[str] = set()
    for node in weighted_nodes(model):
        before, sources = _walk_back(node.input[0], made)
        if not before and sources & integers:
            found.add(node.name)
    for end in ends:
        found |= _walk_back(end, made)[0]
    return found


def _write_norms_out(model: onnx.ModelProto) -> None:
    """Batch norms before a convolution, which cannot be merged into it: x * scale + shift."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        gamma, beta, mean, variance = (
            numpy_helper.to_array(constants[name]).astype(np.float64) for name in node.input[1:5]
        )
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        scale = gamma / np.sqrt(variance + epsilon)
        [shape] = [v.type for v in (*graph.value_info, *graph.output) if v.name == node.output[0]]
        out, product = node.output[0], f"{node.output[0]}_scaled"
        rank = len(shape.tensor_type.shape.dim)
        for name, values in ((f"{out}_scale", scale), (f"{out}_shift", beta - mean * scale)):
            spread = values.astype(np.float32).reshape(-1, *[1] * (rank - 2))
            graph.initializer.append(numpy_helper.from_array(spread, name))
        nodes.append(helper.make_node("Mul", [node.input[0], f"{out}_scale"], [product]))
        nodes.append(helper.make_node("Add", [product, f"{out}_shift"], [out]))
        graph.value_info.append(onnx.ValueInfoProto(name=product, type=shape))
    del graph.node[:]
    graph.node.extend(nodes)


def _walk_back(tensor: str, made: Mapping[str, onnx.NodeProto]) -> tuple[set[str], set[str]]:
    """The weighted nodes met first on every way back from a tensor, and the graph inputs met."""
    open_tensors, seen = [tensor], {tensor}
    weighted, sources = set(), set()
    while open_tensors:
        name = open_tensors.pop()
        node = made.get(name)
        if node is None:
            sources.add(name)
        elif node.op_type in WEIGHTED:
            weighted.add(node.name)
        else:
            fresh = [each for each in node.input if each and each not in seen]
            seen.update(fresh)
            open_tensors.extend(fresh)
    return weighted, sources


def forget_unused_domains(model: onnx.ModelProto) -> None:
    """Drop operator sets that no node is from: other runtimes need not know them."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
