"""A bundle's stages as exported torch programs, compared with its graphs and put into the cache."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.backends.base import choose_file
from anomaly_seg_ros.backends.engine_cache import Built, EngineCache
from anomaly_seg_ros.backends.torch_backend import (
    SUFFIX,
    TorchBackend,
    TorchRunner,
    open_program,
    program_key,
)
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.scenes import RoadSequence
from training.checkpoints import open_stages
from training.export import FLIP_REACH, Gate
from training.methods.obsnet.paper_networks import with_indices
from training.networks.segnet import SegNetStages
from training.torch_programs.graph_module import GraphModule

SAMPLE_SCENES = (1, 2)  # seeds of procedural scenes that programs are compared on
# Against ONNX Runtime in fp32 on the CPU. TF32 of the GPU is within the first one too.
GATES = {
    "fp32": Gate(label_agreement=0.998, score_mean_error=1e-3, score_max_error=2e-2),
    "fp16": Gate(label_agreement=0.99, score_mean_error=5e-3, score_max_error=0.1),
}


@dataclass(frozen=True)
class Compared:
    """A run on the device against ONNX Runtime's fp32 on the CPU, away from flipped classes."""

    label_agreement: float
    score_mean_error: float
    score_max_error: float

    def fault(self, gate: Gate) -> str:
        """What lies beyond the gate; empty when nothing does."""
        within = (
            self.label_agreement >= gate.label_agreement
            and self.score_mean_error <= gate.score_mean_error
            and self.score_max_error <= gate.score_max_error
        )
        return "" if within else f"found {self}, allowed {gate}"


def make_programs(
    bundle: Bundle,
    cache: EngineCache,
    *,
    device: torch.device,
    precision: str,
    checkpoint: Path | None = None,
    gate: Gate | None = None,
) -> dict[str, Path]:
    """The cached program of each stage, exported where it is not there; stage -> file.

    From the bundle's own graphs of that precision, or from a checkpoint that holds the same chain,
    whose own operators may be faster. Raises BundleError where programs answer otherwise than the
    bundle's fp32 graphs in ONNX Runtime (`gate`, default GATES), UnsupportedGraph, BackendError.
    """
    keys = {
        stage.name: program_key(choose_file(stage, precision, TorchBackend.name), device.type)
        for stage in bundle.stages
    }
    found = {name: cache.find(key, suffix=SUFFIX) for name, key in keys.items()}
    there = {name: engine.path for name, engine in found.items() if engine is not None}
    if len(there) == len(keys):
        return there
    modules = (
        _from_graphs(bundle, precision)
        if checkpoint is None
        else _from_checkpoint(bundle, checkpoint, precision)
    )
    data = _export(bundle, modules, device)
    runner = TorchRunner(
        bundle,
        {name: open_program(content, device) for name, content in data.items()},
        device,
        precision=precision,
        threads=torch.get_num_threads(),
        graphs=False,
    )
    compared = compare(bundle, runner, sample_images(_size(bundle)))
    runner.close()
    if fault := compared.fault(gate or GATES[precision]):
        raise BundleError(
            f"the torch programs of {bundle.name} ({precision}, {device}) differ from its graphs: "
            f"{fault}"
        )
    notes = {"bundle": bundle.name, "device": _device_name(device), **vars(compared)}
    return {
        name: cache.plan(key, _built(data[name], {"stage": name, **notes}), suffix=SUFFIX).path
        for name, key in keys.items()
    }


@lru_cache(maxsize=4)
def sample_images(size: tuple[int, int]) -> tuple[np.ndarray, ...]:
    """Procedural scenes of size (H, W), uint8 [1, H, W, 3]."""
    return tuple(RoadSequence(seed, size=size).frame(10).image[None] for seed in SAMPLE_SCENES)


def compare(bundle: Bundle, runner: Runner, images: Sequence[np.ndarray]) -> Compared:
    """Labels and score of the runner against the bundle's fp32 graphs in ONNX Runtime."""
    wanted = ("labels", "score")
    reference = load_runner(bundle, "onnxruntime", "cpu", "fp32")
    agreement, errors, largest = [], [], 0.0
    reach = np.ones((FLIP_REACH, FLIP_REACH), np.uint8)
    for image in images:
        expected = reference.run(image, wanted).arrays
        found = runner.run(image, wanted).arrays
        flipped = (found["labels"] != expected["labels"])[0]
        error = np.abs(found["score"] - expected["score"])[0]
        agreement.append(1 - float(flipped.mean()))
        errors.append(float(error.mean()))
        away = error
        if flipped.shape == error.shape:
            away = error[cv2.dilate(flipped.astype(np.uint8), reach) == 0]
        largest = max(largest, float(away.max(initial=0.0)))
    reference.close()
    return Compared(float(np.mean(agreement)), float(np.mean(errors)), largest)


def _built(data: bytes, notes: dict[str, Any]) -> Any:
    return lambda: Built(data, notes)


def _from_graphs(bundle: Bundle, precision: str) -> dict[str, nn.Module]:
    return {
        stage.name: GraphModule(stage, choose_file(stage, precision, TorchBackend.name).path)
        for stage in bundle.stages
    }


def _from_checkpoint(bundle: Bundle, checkpoint: Path, precision: str) -> dict[str, nn.Module]:
    """The checkpoint's own stages; SegNets with torch's pooling indices, which the graphs avoid."""
    if precision != "fp32":
        raise BundleError(
            f"a checkpoint is in fp32; {precision} programs come from the bundle's own graphs: "
            "leave --checkpoint out"
        )
    stages = open_stages(checkpoint)
    found = [(s.name, tuple(s.inputs), tuple(s.outputs)) for s in stages]
    expected = [(s.name, s.inputs, _outputs(s)) for s in bundle.stages]
    if found != expected:
        raise BundleError(
            f"{checkpoint} holds another chain than bundle {bundle.name}: found {found}, expected "
            f"{expected}"
        )
    for stage in stages:
        for module in stage.modules():
            if isinstance(module, SegNetStages):
                with_indices(module)
    return {stage.name: stage for stage in stages}


def _export(
    bundle: Bundle, modules: Mapping[str, nn.Module], device: torch.device
) -> dict[str, bytes]:
    """Each stage's program as bytes; the chain runs once for the example inputs."""
    tensors = {IMAGE: torch.from_numpy(sample_images(_size(bundle))[0]).to(device)}
    exported = {}
    for stage in bundle.stages:
        module = _Tuple(modules[stage.name]).eval().to(device)
        inputs = tuple(tensors[name] for name in stage.inputs)
        with torch.no_grad():
            program = torch.export.export(module, inputs, strict=False)
            tensors.update(zip(_outputs(stage), module(*inputs), strict=True))
        program.example_inputs = None  # pictures, which a program need not carry
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        exported[stage.name] = buffer.getvalue()
    return exported


class _Tuple(nn.Module):
    """A stage that always answers with a tuple."""

    def __init__(self, stage: nn.Module) -> None:
        super().__init__()
        self.stage = stage

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        made = self.stage(*inputs)
        return made if isinstance(made, tuple) else (made,)


def _size(bundle: Bundle) -> tuple[int, int]:
    return bundle.input.height, bundle.input.width


def _outputs(stage: StageSpec) -> tuple[str, ...]:
    return tuple(spec.name for spec in stage.outputs)


def _device_name(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else torch.cuda.get_device_name(device)
