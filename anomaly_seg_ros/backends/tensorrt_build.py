"""Building a TensorRT engine from one graph of a stage, and the key that it is kept under."""

from __future__ import annotations

import hashlib
import logging
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomaly_seg_ros.backends.build_watch import BuildWatch
from anomaly_seg_ros.backends.engine_cache import Built, EngineCache
from anomaly_seg_ros.backends.tensorrt_api import LogLines
from anomaly_seg_ros.backends.tensorrt_memory import Gpu
from anomaly_seg_ros.backends.tensorrt_precision import (
    WANTED,
    LayerTypes,
    is_unsure,
    precision_fault,
    read_layers,
)
from anomaly_seg_ros.backends.tensorrt_progress import Monitor
from anomaly_seg_ros.bundle import StageFile, StageSpec
from anomaly_seg_ros.errors import BackendError
from anomaly_seg_ros.onnx_file import OnnxFormatError, read_onnx

log = logging.getLogger(__name__)

KEY_SCHEMA = 1
STRICT = "fp32_strict"  # fp32 without TF32 in convolutions and products
LAYERS_SUFFIX = ".layers.json"


@dataclass(frozen=True)
class EngineOptions:
    """What a builder may be told beyond the graph; all of it is part of the key."""

    max_batch: int = 1  # images at once, where the graph's first dimension is dynamic
    workspace_bytes: int = 1 << 30  # scratch memory that a layer may use
    optimization_level: int = 3  # 0..5, TensorRT's own default


@dataclass(frozen=True)
class StageSource:
    """The graph of a stage that an engine is built from, read once and hashed."""

    bundle: str
    stage: str
    path: Path  # weights outside the file are looked for beside it
    data: bytes
    graph_hashes: tuple[str, ...]  # sha256 of the file and of those outside it
    precision: str  # fp32, fp32_strict, fp16 or int8
    shapes: Mapping[str, tuple[int, ...]]  # of the inputs; -1 where dynamic

    @property
    def what(self) -> str:
        return f"stage {self.stage}"


def graph_precision(precision: str) -> str:
    """The precision of the graphs that an engine of `precision` is built from."""
    return "fp32" if precision == STRICT else precision


def read_source(bundle: str, stage: StageSpec, file: StageFile, precision: str) -> StageSource:
    """Read a stage's graph. Raises BackendError where only part of a shape can be dynamic."""
    try:
        data = file.path.read_bytes()
        outside = [side.path.read_bytes() for side in file.external]
    except OSError as error:
        raise BackendError(f"{file.path} cannot be read ({error.strerror})") from error
    try:
        inputs = read_onnx(data).inputs
    except OnnxFormatError as error:
        raise BackendError(
            f"{file.path} is no ONNX model ({error}): export the stage again"
        ) from error
    shapes = {
        end.name: tuple(-1 if isinstance(dim, str) else dim for dim in end.shape) for end in inputs
    }
    for name, shape in shapes.items():
        if -1 in shape[1:]:
            raise BackendError(
                f"stage {stage.name} ({file.path.name}): input {name} is {list(shape)}; only the "
                "first dimension may be dynamic (-1): export the stage with a fixed image size"
            )
    hashes = tuple(hashlib.sha256(content).hexdigest() for content in (data, *outside))
    return StageSource(bundle, stage.name, file.path, data, hashes, precision, shapes)


def profile_shapes(source: StageSource, options: EngineOptions) -> dict[str, list[list[int]]]:
    """[min, opt, max] of every dynamic input; empty for a static graph."""
    return {
        name: [[batch, *shape[1:]] for batch in (1, options.max_batch, options.max_batch)]
        for name, shape in source.shapes.items()
        if shape and shape[0] == -1
    }


def engine_key(
    source: StageSource, version: str, gpu: Gpu, options: EngineOptions
) -> dict[str, Any]:
    """Everything that an engine depends on, as JSON."""
    return {
        "schema": KEY_SCHEMA,
        "kind": "tensorrt",
        "onnx_sha256": list(source.graph_hashes),
        "precision": source.precision,
        "tensorrt": version,
        "gpu": gpu.name,
        "compute_capability": gpu.capability,
        "multiprocessors": gpu.multiprocessors,
        "cuda_driver": gpu.driver,
        "system": f"{platform.system()} {platform.machine()}",
        "inputs": {name: list(shape) for name, shape in source.shapes.items()},
        "profiles": profile_shapes(source, options),
        "tf32": source.precision != STRICT,
        "workspace_bytes": options.workspace_bytes,
        "optimization_level": options.optimization_level,
        "hardware_compatibility": "none",
        "version_compatible": False,
        "plugins": [],
    }


def build_engine(
    trt: Any,
    source: StageSource,
    gpu: Gpu,
    options: EngineOptions,
    cache: EngineCache,
    watch: BuildWatch,
) -> Built:
    """Build and check an engine: it deserialises and computes in the precision asked for.

    The GPU must be the calling thread's. Raises BackendError with TensorRT's last lines, and
    BuildCancelled.
    """
    watch.check(source.what)
    lines = LogLines(trt)

    def made(name: str, make: Callable[..., Any], *arguments: Any) -> Any:
        what = f"{source.what}: TensorRT made no {name}"
        return lines.made(what, "end what else uses the GPU and try again", make, *arguments)

    builder = made("builder", trt.Builder, lines.logger)
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = made("network", builder.create_network, typed)
    # The parser refers to the network and the network to weights that the parser holds.
    parser = made("parser", trt.OnnxParser, network, lines.logger)
    _parse(parser, source, lines)
    _check_types(trt, network, source)
    config = made("settings", builder.create_builder_config)
    _configure(trt, config, source, options)
    shapes = profile_shapes(source, options)
    if shapes:
        profile = made("profile", builder.create_optimization_profile)
        for name, (low, usual, high) in shapes.items():
            profile.set_shape(name, tuple(low), tuple(usual), tuple(high))
        if config.add_optimization_profile(profile) < 0:
            raise lines.error(f"{source.what}: TensorRT refuses {shapes}", "choose another batch")
    timings = _timings_name(str(trt.__version__), gpu)
    timing_cache = _use_timings(config, cache.read_timings(timings))
    monitor = Monitor(trt, source.what, watch)
    config.progress_monitor = monitor.monitor
    plan = builder.build_serialized_network(network, config)
    if monitor.raised is not None:
        raise monitor.raised
    if plan is None:
        raise lines.error(
            f"{source.what}: TensorRT {trt.__version__} cannot build an engine from "
            f"{source.path.name}",
            "see its messages; when memory is short, end what else uses the GPU",
        )
    data = bytes(plan)
    layers = _inspect(trt, data, source, lines)
    found = _checked_precision(layers, source)
    if timing_cache is not None and (measured := timing_cache.serialize()) is not None:
        cache.write_timings(timings, bytes(measured))
    notes = {
        "bundle": source.bundle,
        "stage": source.stage,
        "graph": source.path.name,
        "layers": found.as_json(),
    }
    return Built(data, notes, {LAYERS_SUFFIX: layers.encode()})


def _checked_precision(layers: str, source: StageSource) -> LayerTypes:
    """What the layers compute in. Raises BackendError when it is not what was asked for."""
    found = read_layers(layers)
    fault = precision_fault(found, source.precision)
    if fault is not None:
        raise BackendError(
            f"{source.what}: {fault}; the engine is thrown away: export the stage's "
            f"{source.precision} graph again, or ask for another precision"
        )
    if is_unsure(found, source.precision):
        log.warning(
            "%s: TensorRT's inspector tells no type of %d of %d layers and shows no %s in the "
            "others, so the precision could not be confirmed",
            source.what,
            found.opaque,
            found.layers,
            source.precision,
        )
    return found


def _timings_name(version: str, gpu: Gpu) -> str:
    """The file for one version of TensorRT on one kind of GPU."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", gpu.name)
    return f"tensorrt-{version}-{plain}-{gpu.capability}"


def _parse(parser: Any, source: StageSource, lines: LogLines) -> None:
    if parser.parse(source.data, str(source.path)):
        return
    faults = [parser.get_error(index) for index in range(parser.num_errors)]
    told = "".join(f"\n  - {fault.node_operator()} {fault.desc()}" for fault in faults)
    raise lines.error(
        f"{source.what}: TensorRT cannot read {source.path.name}{told}",
        "`anomaly-seg bundle check --target tensorrt` names the operators; export the stage again",
    )


def _check_types(trt: Any, network: Any, source: StageSource) -> None:
    """A graph without any tensor of the precision asked for is found before minutes of building.

    With strong typing the graph's own types are those of the engine.
    """
    if source.precision not in WANTED:
        return
    wanted = {"fp16": trt.DataType.HALF, "int8": trt.DataType.INT8}[source.precision]
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if any(layer.get_output(i).dtype == wanted for i in range(layer.num_outputs)):
            return
    raise BackendError(
        f"{source.what}: {source.path.name} is listed as {source.precision} but no tensor of its "
        f"graph is: export the stage in {source.precision} again, or ask for fp32"
    )


def _configure(trt: Any, config: Any, source: StageSource, options: EngineOptions) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    config.builder_optimization_level = options.optimization_level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # for the inspector
    if source.precision == STRICT:
        config.clear_flag(trt.BuilderFlag.TF32)
    else:
        config.set_flag(trt.BuilderFlag.TF32)


def _use_timings(config: Any, known: bytes) -> Any | None:
    """A timing cache in use, started from what is known; None when TensorRT gives none."""
    for content in dict.fromkeys((known, b"")):  # those of another driver may be refused
        timing_cache = config.create_timing_cache(content)
        if timing_cache is not None and config.set_timing_cache(timing_cache, False):
            return timing_cache
    log.warning("TensorRT took no timing cache: builds measure everything anew")
    return None


def _inspect(trt: Any, data: bytes, source: StageSource, lines: LogLines) -> str:
    """The layers of a fresh engine as JSON; that it can be deserialised is proved on the way."""
    what = f"{source.what}: TensorRT does not take the engine that it has just built"
    mend = "install TensorRT again, and look for two versions of it"
    runtime = lines.made(what, mend, trt.Runtime, lines.logger)
    engine = lines.made(what, mend, runtime.deserialize_cuda_engine, data)
    inspector = engine.create_engine_inspector()
    if inspector is None:
        return ""
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
