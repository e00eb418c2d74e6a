"""Which numbers flow through a graph: what fp16 could not hold is found on frames, not guessed."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from training.precision.graphs import float_tensors, initialiser_names

SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)  # 6.1e-5; below it digits are lost
LARGEST = float(np.finfo(np.float16).max)  # 65504
OVERFLOW = LARGEST / 2  # calibration frames are not all frames
LARGE = 512.0  # worth a look: where mixed-precision tools start to keep fp32
MOSTLY = 0.5  # share of the non-zero values


@dataclass(frozen=True)
class TensorRange:
    """One tensor over all frames."""

    name: str
    max_abs: float
    subnormal: float  # share of the non-zero values below fp16's smallest normal number

    @property
    def fault(self) -> str:
        """Why fp16 does not hold it; empty when it does."""
        if not self.max_abs <= OVERFLOW:  # NaN too
            return f"reaches {self.max_abs:.4g}, fp16 ends at {LARGEST:.0f}"
        if self.subnormal > MOSTLY:
            return f"{self.subnormal:.0%} of its values lie below {SMALLEST_NORMAL:.1e}"
        return ""


def measure_ranges(
    model: onnx.ModelProto, feeds: Iterable[Mapping[str, np.ndarray]]
) -> dict[str, TensorRange]:
    """Run the fp32 graph on `feeds` (its inputs by name) and look at every fp32 activation.

    The graph itself reduces each tensor to three numbers, so that memory does not grow.
    """
    names = sorted(float_tensors(model) - initialiser_names(model))
    session = onnxruntime.InferenceSession(
        _with_statistics(model, names).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    wanted = [f"{name}/{what}" for name in names for what in ("max", "small", "used")]
    rows = [
        np.array(session.run(wanted, dict(inputs)), np.float64).reshape(-1, 3) for inputs in feeds
    ]
    if not rows:
        raise ValueError("no frames to measure ranges on")
    largest = np.max([row[:, 0] for row in rows], axis=0)
    small = np.mean([row[:, 1] for row in rows], axis=0)
    used = np.mean([row[:, 2] for row in rows], axis=0)
    share = small / np.maximum(used, 1e-12)
    return {
        name: TensorRange(name, float(largest[index]), float(share[index]))
        for index, name in enumerate(names)
    }


def constant_ranges(model: onnx.ModelProto) -> dict[str, TensorRange]:
    """The same of the fp32 constants."""
    found = {}
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = np.abs(numpy_helper.to_array(tensor))
        used = int(np.count_nonzero(values))
        small = int(np.count_nonzero((values > 0) & (values < SMALLEST_NORMAL)))
        largest = float(values.max(initial=0.0))
        found[tensor.name] = TensorRange(tensor.name, largest, small / max(1, used))
    return found


def report_lines(stage: str, ranges: Mapping[str, TensorRange], longest: int = 5) -> list[str]:
    """The largest tensors of a stage and all that fp16 does not hold, for a terminal."""
    lines = [f"{stage}: {len(ranges)} tensors"]
    for entry in sorted(ranges.values(), key=lambda entry: -entry.max_abs)[:longest]:
        mark = "  large" if entry.max_abs > LARGE else ""
        lines.append(f"  {entry.name:40s} max |x| {entry.max_abs:10.4g}{mark}")
    lines += [f"  {entry.name}: {entry.fault}" for entry in ranges.values() if entry.fault]
    return lines


def _with_statistics(model: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """The graph with three scalars for each tensor: max |x|, the share of values that are small
    but not zero, and the share of values that are not zero."""
    watched = copy.deepcopy(model)
    graph = watched.graph
    for name, value in (("zero", 0.0), ("smallest", SMALLEST_NORMAL)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), f"range/{name}"))
    for name in names:
        size, used, below, small = (
            f"{name}/{what}" for what in ("abs", "nonzero", "below", "both")
        )
        graph.node.extend(
            [
                helper.make_node("Abs", [name], [size]),
                helper.make_node("ReduceMax", [size], [f"{name}/max"], keepdims=0),
                helper.make_node("Greater", [size, "range/zero"], [used]),
                helper.make_node("Less", [size, "range/smallest"], [below]),
                helper.make_node("And", [used, below], [small]),
            ]
        )
        for flag, out in ((small, "small"), (used, "used")):
            cast = f"{flag}/number"
            graph.node.append(helper.make_node("Cast", [flag], [cast], to=TensorProto.FLOAT))
            graph.node.append(helper.make_node("ReduceMean", [cast], [f"{name}/{out}"], keepdims=0))
        for out in ("max", "small", "used"):
            graph.output.append(
                helper.make_tensor_value_info(f"{name}/{out}", TensorProto.FLOAT, [])
            )
    return watched
