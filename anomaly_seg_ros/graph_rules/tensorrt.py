"""Rules of TensorRT 10.3 to 11.x, strongly typed.

Sources: operators.md of onnx-tensorrt 10.1 and 10.15 and its importer, `DataType` in
NvInferRuntimeBase.h for uint8, and the reports named at the rules. They judge a graph before an
engine is built; the build itself and parity on the vehicle's GPU have the last word.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from anomaly_seg_ros.graph_rules.common import COMMON
from anomaly_seg_ros.graph_rules.operators import (
    CONSTANT_INPUTS,
    DEPENDS_ON_DATA,
    EVERYTHING,
    FLOATS,
    MENDS,
    NEWER,
    NUMBERS,
)
from anomaly_seg_ros.graph_rules.view import (
    FAULT,
    WARNING,
    Finding,
    GraphView,
    attribute,
    called,
    of_type,
    type_name,
)

OPSETS = (9, 25)  # read by TensorRT 11
SAFE_OPSET = 20  # the newest that all of 10.x reads
GRID_SAMPLE_OPSET = 19
MAX_TOP_K = 3840
HALF = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
CASTABLE = (TensorProto.FLOAT, TensorProto.FLOAT16)  # to and from uint8
INTEGERS = (TensorProto.INT32, TensorProto.INT64)
RESIZE_CHOICES = {
    "mode": ("nearest", ("nearest", "linear")),
    "coordinate_transformation_mode": (
        "half_pixel",
        ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"),
    ),
    "nearest_mode": (
        "round_prefer_floor",
        ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    ),
    "keep_aspect_ratio_policy": ("stretch", ("stretch",)),
    "antialias": (0, (0,)),
}
# Sums over many values, exponentials, and quotients of small ones.
NEEDS_FLOAT32 = (
    *("Softmax", "LogSoftmax", "ReduceLogSumExp", "ReduceSumSquare", "ReduceL2"),
    *("InstanceNormalization", "GroupNormalization", "LayerNormalization", "LpNormalization"),
)
QUANTISE_MEND = (
    "quantise for TensorRT by itself: signed int8, all zero points 0, weights per channel, biases "
    "left in float"
)


def opset(view: GraphView) -> Iterator[Finding]:
    """10.0 reads opset 9 to 20, 10.15 up to 24, 11 up to 25."""
    low, high = OPSETS
    if not low <= view.opset <= high:
        text = f"opset {view.opset}, expected {low} to {high}"
        yield Finding(FAULT, "", text, "export with opset 18")
    elif view.opset > SAFE_OPSET:
        text = f"opset {view.opset}: releases of TensorRT before 10.15 read up to {SAFE_OPSET}"
        yield Finding(WARNING, "", text, "export with opset 18")


def operators(view: GraphView) -> Iterator[Finding]:
    """Only operators that TensorRT reads, and none whose work depends on the pixels."""
    for node in view.nodes:
        name, label = node.op_type, called(node)
        mend = MENDS.get(name, "write it with other operators at export")
        if node.domain not in ("", "ai.onnx"):
            text = f"is of the domain {node.domain}, which TensorRT reads only through a plugin"
            yield Finding(FAULT, label, text, "export with plain ONNX operators")
        elif name in DEPENDS_ON_DATA:
            text = "makes sizes or work depend on the pixels, which no engine of ours may"
            yield Finding(FAULT, label, text, mend)
        elif name == "MaxPool" and len(node.output) > 1 and node.output[1]:
            yield Finding(FAULT, label, "gives Indices, which TensorRT cannot", MENDS["MaxUnpool"])
        elif name in NEWER:
            text = "is read by TensorRT 10.15 and later only"
            yield Finding(WARNING, label, text, mend)
        elif not (name in NUMBERS or name in FLOATS or name in EVERYTHING):
            yield Finding(FAULT, label, "is not supported by TensorRT", mend)


def operand_types(view: GraphView) -> Iterator[Finding]:
    """Operators whose first input the documentation lists for floats, or for numbers, only."""
    for node in view.nodes:
        dtype = view.dtype(node.input[0]) if node.input else TensorProto.UNDEFINED
        wrong = INTEGERS if node.op_type in FLOATS else ()
        if node.op_type in NUMBERS or node.op_type in FLOATS:
            wrong = (*wrong, TensorProto.BOOL)
        if dtype in wrong and node.input[0] not in view.fixed:
            yield Finding(
                WARNING,
                called(node),
                f"takes {type_name(dtype)}; TensorRT lists it for floats"
                + ("" if node.op_type in FLOATS else " and whole numbers"),
                "cast to float32 before it",
            )
        elif dtype == TensorProto.DOUBLE and node.input[0] not in view.fixed:
            text = "computes in float64, which TensorRT rounds to float32"
            yield Finding(WARNING, called(node), text, "export in float32")


def uint8_at_the_ends(view: GraphView) -> Iterator[Finding]:
    """uint8 is for a network's inputs and outputs, right beside a cast to or from float or half."""
    for node in view.nodes:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Constant"):
            continue  # `quantisation` judges these
        taken = [name for name in node.input if view.dtype(name) == TensorProto.UINT8]
        made = [name for name in node.output if view.dtype(name) == TensorProto.UINT8]
        inside = [name for name in made if name not in view.outputs]
        if not taken and not made:
            continue
        constant = [name for name in taken if name in view.fixed]
        if constant:
            text = f"takes the constant {constant[0]} as uint8, which TensorRT reads as int32"
            yield Finding(FAULT, called(node), text, "store the constant as float32 or int64")
        elif node.op_type != "Cast":
            text = f"works on uint8 ({', '.join(taken + made)})"
            mend = "cast the image to float32 first, and labels to uint8 last"
            yield Finding(FAULT, called(node), text, mend)
        elif inside:
            text = f"makes {inside[0]} uint8 inside the graph"
            yield Finding(FAULT, called(node), text, "keep it in float32 up to the graph's output")
        elif made and view.dtype(node.input[0]) not in CASTABLE:
            text = (
                f"casts {type_name(view.dtype(node.input[0]))} to uint8 ({made[0]}); only float32 "
                "and float16 can be cast to it"
            )
            yield Finding(FAULT, called(node), text, "cast to float32 before the cast to uint8")
        elif taken and attribute(node, "to", 0) not in CASTABLE:
            text = (
                f"casts uint8 ({taken[0]}) to {type_name(attribute(node, 'to', 0))}; it can be "
                "cast only to float32 and float16"
            )
            yield Finding(FAULT, called(node), text, "cast to float32 first, then to that type")
        elif taken and taken[0] in view.outputs:
            text = f"reads the output {taken[0]}, and uint8 cannot be read inside the graph"
            yield Finding(FAULT, called(node), text, "read what the output was cast from")


def grid_sample(view: GraphView) -> Iterator[Finding]:
    """From opset 20 on GridSample silently takes the nearest pixel (NVIDIA/TensorRT issue 4646)."""
    for node in of_type(view, "GridSample"):
        if view.opset > GRID_SAMPLE_OPSET:
            text = f"at opset {view.opset} takes the nearest pixel instead of interpolating"
            mend = f"export with opset 16 to {GRID_SAMPLE_OPSET}"
            yield Finding(FAULT, called(node), text, mend)
        if len(view.shapes.get(node.input[0], (0, 0, 0, 0))) != 4:
            text = "samples something else than a picture [N, C, h, w]"
            yield Finding(FAULT, called(node), text, "sample pictures of four dimensions")


def resizing(view: GraphView) -> Iterator[Finding]:
    """The modes that TensorRT's Resize has."""
    for node in of_type(view, "Resize"):
        label = called(node)
        for key, (default, allowed) in RESIZE_CHOICES.items():
            found = attribute(node, key, default)
            if found not in allowed:
                expected = ", ".join(map(str, allowed))
                text = f"{key} is {found}, expected {expected}"
                yield Finding(FAULT, label, text, "resize in another mode when exporting")
        sizes = view.value(node.input[3]) if len(node.input) > 3 else None
        mode = attribute(node, "coordinate_transformation_mode", "half_pixel")
        if sizes is not None and mode == "pytorch_half_pixel" and (sizes[-2:] == 1).any():
            text = "to one pixel in mode pytorch_half_pixel is not the mean (PyTorch issue 183523)"
            yield Finding(WARNING, label, text, "take the mean over rows and columns instead")
        scales = view.value(node.input[2]) if len(node.input) > 2 else None
        if scales is not None and scales.size and (scales != np.round(scales)).any():
            text = f"scales {scales.tolist()} are rounded to a size by each runtime for itself"
            yield Finding(WARNING, label, text, "resize to sizes, not by scales")


def known_when_built(view: GraphView) -> Iterator[Finding]:
    """Inputs and attributes that the importer wants as constants of certain values."""
    for node in view.nodes:
        label = called(node)
        for position, name in CONSTANT_INPUTS.get(node.op_type, {}).items():
            given = node.input[position] if position < len(node.input) else ""
            if given and given not in view.fixed:
                text = f"computes its {name} from the image, expected a constant"
                yield Finding(FAULT, label, text, "export with fixed shapes and axes")
        if fault := _wrong_setting(view, node):
            yield Finding(FAULT, label, fault, "change it at export")


def _wrong_setting(view: GraphView, node: onnx.NodeProto) -> str:
    """What the importer refuses of a node's settings; empty when nothing."""
    name = node.op_type
    if name in ("MaxPool", "AveragePool", "LpPool"):
        dilations = attribute(node, "dilations", [])
        if any(value != 1 for value in dilations):
            return f"dilations are {list(dilations)}, expected all 1"
    if name == "ScatterND" and attribute(node, "reduction", "none") != "none":
        return f"reduction is {attribute(node, 'reduction', 'none')}, expected none"
    if name == "TopK":
        if not attribute(node, "sorted", 1):
            return "sorted is 0, expected 1"
        count = view.value(node.input[1]) if len(node.input) > 1 else None
        if count is not None and count.size and int(count.flat[0]) >= MAX_TOP_K:
            return f"k is {int(count.flat[0])}, expected less than {MAX_TOP_K}"
    if name == "BatchNormalization" and attribute(node, "training_mode", 0):
        return "is in training mode"
    if name == "LayerNormalization" and any(node.output[1:]):
        return "gives mean or deviation, expected only its first output"
    if name == "Constant" and not {"value", "value_int", "value_ints", "value_float"}.union(
        {"value_floats"}
    ).intersection(entry.name for entry in node.attribute):
        return "holds text or a sparse tensor"
    return ""


def float32_islands(view: GraphView) -> Iterator[Finding]:
    """Statistics and exponentials overflow in half precision: inputs of deviation 30 are enough."""
    for node in of_type(view, *NEEDS_FLOAT32):
        if view.dtype(node.input[0]) in HALF:
            text = f"computes in {type_name(view.dtype(node.input[0]))}, where it overflows"
            yield Finding(WARNING, called(node), text, "cast to float32 before it and back after")


def quantisation(view: GraphView) -> Iterator[Finding]:
    """Explicit, symmetric int8: a uint8 zero point is silently taken for int8."""
    for node in of_type(view, "QuantizeLinear", "DequantizeLinear"):
        label = called(node)
        zero = node.input[2] if len(node.input) > 2 else ""
        kind = view.dtype(zero) if zero else attribute(node, "output_dtype", TensorProto.UNDEFINED)
        source = view.dtype(node.input[0])
        if node.op_type == "DequantizeLinear" and source == TensorProto.INT32:
            yield Finding(FAULT, label, "reads int32, expected int8", QUANTISE_MEND)
        elif TensorProto.UINT8 in (kind, source):
            text = "quantises to uint8, which TensorRT takes for int8"
            yield Finding(FAULT, label, text, QUANTISE_MEND)
        elif node.op_type == "QuantizeLinear" and kind == TensorProto.UNDEFINED:
            text = "has no zero point: ONNX then means uint8, TensorRT int8"
            yield Finding(FAULT, label, text, QUANTISE_MEND)
        elif zero and zero not in view.fixed:
            yield Finding(FAULT, label, "computes its zero point, expected 0", QUANTISE_MEND)
        elif zero:
            value = view.value(zero)
            if value is not None and np.any(value.astype(np.float32) != 0):
                worst = int(value.flat[int(np.abs(value.astype(np.int32)).argmax())])
                text = f"has the zero point {worst}, expected 0"
                yield Finding(FAULT, label, text, QUANTISE_MEND)


RULES = (
    *COMMON,
    opset,
    operators,
    operand_types,
    uint8_at_the_ends,
    grid_sample,
    resizing,
    known_when_built,
    float32_islands,
    quantisation,
)
