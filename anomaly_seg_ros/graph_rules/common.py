"""Rules that hold wherever a graph runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import TensorProto, numpy_helper

from anomaly_seg_ros.graph_rules.view import (
    FAULT,
    RANDOM,
    WARNING,
    Finding,
    GraphView,
    called,
    of_type,
)

FILE_LIMIT = 2**31  # bytes; protocol buffers hold less than that
FLOAT_TYPES = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


def well_formed(view: GraphView) -> Iterator[Finding]:
    """The checker and the type inference of the onnx package."""
    if view.flaw:
        yield Finding(FAULT, "", f"not a valid graph: {view.flaw}", "export it again")


def file_size(view: GraphView) -> Iterator[Finding]:
    """One file stays below 2 GB; larger graphs keep their weights beside it."""
    if view.bytes_in_file >= FILE_LIMIT:
        yield Finding(
            FAULT,
            "",
            f"the file has {view.bytes_in_file / 1e9:.1f} GB, expected less than 2 GB",
            "export it with external data",
        )
    elif view.bytes_in_all >= FILE_LIMIT:
        yield Finding(
            WARNING,
            "",
            f"graph and weights have {view.bytes_in_all / 1e9:.1f} GB; the weights were not looked "
            "at",
            "use a smaller network: this one hardly runs at camera rate",
        )


def static_shapes(view: GraphView) -> Iterator[Finding]:
    """Every dimension of the graph's inputs and outputs is a number."""
    for side, names in (("input", view.inputs), ("output", view.outputs)):
        for name in names:
            shape = view.shapes.get(name)
            if shape is None or not all(isinstance(dim, int) for dim in shape):
                shown = "of unknown rank" if shape is None else f"[{', '.join(map(str, shape))}]"
                yield Finding(
                    FAULT,
                    "",
                    f"{side} {name} is {shown}, expected fixed dimensions",
                    "export with a fixed image size, or fix it: anomaly-seg bundle create --input",
                )


def finite_weights(view: GraphView) -> Iterator[Finding]:
    """No weight is infinite or not a number."""
    for name, tensor in view.tensors.items():
        if tensor.data_type not in FLOAT_TYPES or tensor.data_location == TensorProto.EXTERNAL:
            continue
        values = numpy_helper.to_array(tensor)
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            takers = view.consumers.get(name, [])
            yield Finding(
                FAULT,
                called(takers[0]) if takers else "",
                f"weight {name} has {bad} of {values.size} values not finite",
                "take a checkpoint from before training diverged, or use a large finite number "
                "where infinity was meant",
            )


def no_randomness(view: GraphView) -> Iterator[Finding]:
    """Stages answer the same image the same way."""
    for node in of_type(view, *RANDOM):
        yield Finding(
            WARNING,
            called(node),
            "draws random numbers, and runtimes draw different ones",
            "make the noise a constant or an input",
        )


COMMON = (well_formed, file_size, static_shapes, finite_weights, no_randomness)
