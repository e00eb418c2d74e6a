"""Stages to ONNX graphs of a bundle, each checked against torch in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from anomaly_seg_ros.errors import BundleError
from training.stage import Stage

OPSET = 18
STORE_AS_HALF = 256  # initialisers of at least so many values are stored in fp16
FLIP_REACH = 5  # cells: a flipped class moves the score around it


@dataclass(frozen=True)
class Gate:
    """What two runs of one chain may differ by; scores are compared away from flipped classes."""

    label_agreement: float
    score_mean_error: float
    score_max_error: float


SAME_MATHS = Gate(label_agreement=0.9999, score_mean_error=1e-5, score_max_error=1e-3)
ROUNDED_WEIGHTS = Gate(label_agreement=0.998, score_mean_error=1e-3, score_max_error=2e-2)


@dataclass(frozen=True)
class ExportedStage:
    """A graph file, its bundle description and what the parity check measured."""

    file: Path
    description: dict[str, Any]


def export_stages(
    stages: Sequence[Stage],
    images: Sequence[np.ndarray],
    folder: Path,
    *,
    gate: Gate = SAME_MATHS,
    rounded: bool = True,
) -> list[ExportedStage]:
    """Write STAGE.onnx for each stage and compare the chain with torch on real `images`.

    images: uint8 [1, H, W, 3] RGB at the bundle's input size, the first one is the example input.
    The graphs must equal torch within `gate`; then, if `rounded`, their weights are stored in fp16
    and cast to fp32 in the graph, and the chain is compared again (ROUNDED_WEIGHTS).
    Raises BundleError when labels or scores differ by more than a gate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, torch.Tensor] = {"image": torch.from_numpy(images[0])}
    exported = []
    for stage in stages:
        stage.eval()
        inputs = tuple(tensors[name] for name in stage.inputs)
        with torch.no_grad():
            tensors.update(_named(stage, stage(*inputs)))
        file = folder / f"{stage.name}.onnx"
        torch.onnx.export(
            stage,
            inputs,
            file,
            input_names=list(stage.inputs),
            output_names=list(stage.outputs),
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        outputs = [
            {
                "name": name,
                "dtype": str(tensors[name].dtype).removeprefix("torch."),
                "shape": list(tensors[name].shape),
            }
            for name in stage.outputs
        ]
        description = {"name": stage.name, "inputs": list(stage.inputs), "outputs": outputs}
        exported.append(ExportedStage(file, description))
    files = [stage.file for stage in exported]
    parity = compare(stages, files, images, gate)
    for file in files:
        model = onnx.load(file)
        if rounded:
            store_as_half(model)
        _forget_origin(model)
        onnx.checker.check_model(model)
        onnx.save(model, file)
    if rounded:
        before = parity["score_max_error"]
        parity = compare(stages, files, images, ROUNDED_WEIGHTS)
        parity["score_max_error_before_rounding"] = before
    for done in exported:
        done.description["files"] = [{"precision": "fp32", "for": "any", "parity": parity}]
    return exported


def _named(stage: Stage, result: Any) -> dict[str, torch.Tensor]:
    values = result if isinstance(result, tuple) else (result,)
    return dict(zip(stage.outputs, values, strict=True))


def store_as_half(model: onnx.ModelProto) -> None:
    """Store large fp32 initialisers in fp16 and cast them in the graph: half the file, fp32 maths.

    A runtime folds the casts when it loads the graph.
    """
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < STORE_AS_HALF:
            continue
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            continue  # a value beyond fp16 keeps its precision
        stored = numpy_helper.from_array(half, f"{tensor.name}_half")
        casts.append(helper.make_node("Cast", [stored.name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer[index].CopyFrom(stored)
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])


def _forget_origin(model: onnx.ModelProto) -> None:
    """Drop the exporter's notes on source files: paths of the exporting machine."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    del model.graph.value_info[:]


def compare(
    stages: Sequence[Stage], files: Sequence[Path], images: Sequence[np.ndarray], gate: Gate
) -> dict[str, float]:
    """Torch against ONNX Runtime over the whole chain. Raises BundleError beyond `gate`."""
    sessions = [
        onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]) for file in files
    ]
    agreement, mean_error, max_error = [], [], 0.0
    for image in images:
        tensors: dict[str, torch.Tensor] = {"image": torch.from_numpy(image)}
        arrays: dict[str, np.ndarray] = {"image": image}
        for stage, session in zip(stages, sessions, strict=True):
            with torch.no_grad():
                tensors.update(_named(stage, stage(*(tensors[name] for name in stage.inputs))))
            feeds = {name: arrays[name] for name in stage.inputs}
            arrays.update(zip(stage.outputs, session.run(stage.outputs, feeds), strict=True))
        flipped = (arrays["labels"] != tensors["labels"].numpy())[0]
        agreement.append(1.0 - flipped.mean())
        reach = np.ones((FLIP_REACH, FLIP_REACH), np.uint8)
        away = cv2.dilate(flipped.astype(np.uint8), reach) == 0
        error = np.abs(arrays["score"] - tensors["score"].numpy())[0]
        mean_error.append(float(error.mean()))
        max_error = max(max_error, float(error[away].max(initial=0.0)))
    found = Gate(float(np.mean(agreement)), float(np.mean(mean_error)), max_error)
    if (
        found.label_agreement < gate.label_agreement
        or found.score_mean_error > gate.score_mean_error
        or found.score_max_error > gate.score_max_error
    ):
        raise BundleError(f"the exported graphs differ from torch: found {found}, allowed {gate}")
    figures = {key: float(f"{value:.4g}") for key, value in vars(found).items()}
    figures["label_agreement"] = round(found.label_agreement, 6)
    return {"frames": len(images), **figures}
