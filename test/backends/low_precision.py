"""Tiny bundles with graphs in fp16 and int8, and with a dynamic batch, for the engine tests."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import observer_graph, segmentation_graph, tiny_description

from anomaly_seg_ros.bundle import Bundle, write_bundle


def precisions_bundle(folder: Path) -> Bundle:
    """The tiny bundle with fp32 graphs for any backend and fp16 and int8 ones for TensorRT."""
    files: dict[str, dict[str, Path]] = {}
    for stage, make in (("segmentation", segmentation_graph), ("observer", observer_graph)):
        models = {"fp32": make(64, 128), "fp16@tensorrt": as_fp16(make(64, 128))}
        models["int8@tensorrt"] = as_int8(make(64, 128))
        files[stage] = {}
        for precision, model in models.items():
            path = folder.parent / f"{stage}_{precision.partition('@')[0]}.onnx"
            onnx.save(model, path)
            files[stage][precision] = path
    return write_bundle(folder, description=tiny_description(), stage_files=files)


def as_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the pooled colours in fp16 on the way."""
    return _detour(
        model,
        helper.make_node("Cast", ["unit_exact"], ["unit_low"], to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["unit_low"], ["unit"], to=TensorProto.FLOAT),
    )


def as_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the pooled colours in int8 on the way (Q/DQ, zero point 0)."""
    constants = {"q_scale": np.float32(1 / 127), "q_zero": np.int8(0)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    return _detour(
        model,
        helper.make_node("QuantizeLinear", ["unit_exact", "q_scale", "q_zero"], ["unit_low"]),
        helper.make_node("DequantizeLinear", ["unit_low", "q_scale", "q_zero"], ["unit"]),
    )


def _detour(model: onnx.ModelProto, *nodes: onnx.NodeProto) -> onnx.ModelProto:
    index, maker = next((i, n) for i, n in enumerate(model.graph.node) if n.output[0] == "unit")
    maker.output[0] = "unit_exact"
    for offset, node in enumerate(nodes, 1):
        model.graph.node.insert(index + offset, node)
    onnx.checker.check_model(model, full_check=True)
    return model


def with_dynamic_batch(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle with graphs whose first dimension is dynamic, which its yaml cannot say."""
    stages = []
    for stage in bundle.stages:
        model = onnx.load(stage.files[0].path)
        for end in (*model.graph.input, *model.graph.output):
            end.type.tensor_type.shape.dim[0].dim_param = "N"
        path = folder / f"dynamic_{stage.name}.onnx"
        onnx.save(model, path)
        file = dataclasses.replace(stage.files[0], path=path)
        stages.append(dataclasses.replace(stage, files=(file,)))
    return dataclasses.replace(bundle, stages=tuple(stages))
