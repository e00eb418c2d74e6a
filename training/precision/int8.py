"""int8 graphs by ONNX Runtime's static quantisation: one kind for CPUs, one for TensorRT."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, create_calibrator
from onnxruntime.quantization.calibrate import TensorsData
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from training.precision.graphs import WEIGHTED, forget_unused_domains, makers

# What carries int8 values on between weighted nodes; the rest (softmax, logarithms, roots, sums)
# stays in fp32.
CARRIERS = (
    "Add",
    "AveragePool",
    "Clip",
    "Concat",
    "LeakyRelu",
    "MaxPool",
    "Pad",
    "Relu",
    "Reshape",
    "Resize",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
# TensorRT's builder places the rest itself: it wants the inputs of weighted nodes and of residual
# sums marked (specs of explicit quantisation), and fuses what follows a convolution into it.
TENSORRT_NODES = (*WEIGHTED, "Add")
TENSORRT_OPTIONS = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "QuantizeBias": False,  # an int32 DequantizeLinear is not one of TensorRT's
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "OpTypesToExcludeOutputQuantization": list(TENSORRT_NODES),
    "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
}
FORMS = ("qdq", "qoperator", "tensorrt")


@dataclass(frozen=True)
class Block:
    """A weighted node and what carries its result on: the smallest thing that is quantised."""

    name: str  # of the weighted node
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Calibrated:
    """A prepared fp32 graph and the range of each of its tensors on calibration frames."""

    model: onnx.ModelProto
    ranges: TensorsData


class _Feeds(CalibrationDataReader):
    """What ONNX Runtime wants to read calibration inputs from."""

    def __init__(self, feeds: Iterable[Mapping[str, np.ndarray]]) -> None:
        self.feeds: Iterator[Mapping[str, np.ndarray]] = iter(feeds)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        return next(self.feeds, None)


def calibrate(model: onnx.ModelProto, feeds: Iterable[Mapping[str, np.ndarray]]) -> Calibrated:
    """Smallest and largest value of every tensor over `feeds`: inputs of the graph by name."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "model.onnx")
        calibrator = create_calibrator(
            folder / "model.onnx", augmented_model_path=str(folder / "augmented.onnx")
        )
        calibrator.collect_data(_Feeds(feeds))
        return Calibrated(model, calibrator.compute_data())


def blocks(model: onnx.ModelProto) -> list[Block]:
    """The weighted nodes in order, each with the carriers between it and the next ones.

    A carrier of several results (Add, Concat) goes with the latest of them.
    """
    made = makers(model)
    place = {node.name: index for index, node in enumerate(model.graph.node)}
    home: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    for node in model.graph.node:
        if node.op_type in WEIGHTED:
            home[node.name] = node.name
        elif node.op_type in CARRIERS:
            before = [home.get(made[name].name) for name in node.input if name in made]
            homes = [name for name in before if name is not None]
            if not homes:
                continue  # comes before every weighted node: preprocessing
            home[node.name] = max(homes, key=place.__getitem__)
        else:
            continue
        members.setdefault(home[node.name], []).append(node.name)
    return [Block(name, tuple(nodes)) for name, nodes in members.items()]


def quantized(calibrated: Calibrated, chosen: Sequence[Block], form: str) -> onnx.ModelProto:
    """The graph with the `chosen` blocks in int8, the rest and all ends in fp32.

    form: "qdq" and "qoperator" have uint8 activations and int8 weights per channel, for ONNX
    Runtime on CPUs; "tensorrt" is signed and symmetric, zero points 0, in QuantizeLinear and
    DequantizeLinear pairs. Without chosen blocks it is the graph as it was.
    """
    model = copy.deepcopy(calibrated.model)
    if not chosen:
        return model
    names = [name for block in chosen for name in block.nodes]
    kinds = list(TENSORRT_NODES if form == "tensorrt" else (*WEIGHTED, *CARRIERS))
    activation = QuantType.QInt8 if form == "tensorrt" else QuantType.QUInt8
    common: tuple[Any, ...] = (QuantType.QInt8, activation, calibrated.ranges, names, [], kinds)
    if form == "qoperator":
        mode = QuantizationMode.QLinearOps
        quantizer = ONNXQuantizer(model, True, False, mode, True, *common)
    else:
        options = dict(TENSORRT_OPTIONS) if form == "tensorrt" else {}
        quantizer = QDQQuantizer(model, True, False, *common, options)
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    made = quantizer.model.model
    forget_unused_domains(made)
    return made
