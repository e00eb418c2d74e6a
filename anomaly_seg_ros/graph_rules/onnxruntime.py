"""Rules of ONNX Runtime on the CPU: what it cannot load, and what it only loads to run slowly.

Loading and running the graphs says more, and `anomaly-seg bundle check` does that besides.
"""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto

from anomaly_seg_ros.graph_rules.common import COMMON
from anomaly_seg_ros.graph_rules.view import (
    FAULT,
    WARNING,
    Finding,
    GraphView,
    called,
    of_type,
    type_name,
)

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft", "com.ms.internal.nhwc")
NO_KERNELS = (
    *(TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2),
    *(TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2FNUZ),
)


def domains(view: GraphView) -> Iterator[Finding]:
    """Operators of ONNX and of ONNX Runtime itself."""
    for node in view.nodes:
        if node.domain not in DOMAINS:
            text = f"is of the domain {node.domain}, which needs a library of its own"
            yield Finding(FAULT, called(node), text, "export with plain ONNX operators")


def number_types(view: GraphView) -> Iterator[Finding]:
    """No bfloat16 or float8; half precision is computed in float32 and rounded."""
    half = 0
    for node in view.nodes:
        dtypes = [view.dtype(name) for name in node.input if name not in view.fixed]
        strange = [dtype for dtype in dtypes if dtype in NO_KERNELS]
        if strange:
            text = f"computes in {type_name(strange[0])}, which the CPU has no kernels for"
            yield Finding(FAULT, called(node), text, "export in float32")
        half += TensorProto.FLOAT16 in dtypes
    if half:
        text = f"{half} operators work in float16, which on the CPU saves nothing"
        yield Finding(WARNING, "", text, "export a float32 graph for the CPU")


def quantisation(view: GraphView) -> Iterator[Finding]:
    """The fast int8 kernels take uint8 activations and int8 weights (U8S8)."""
    for node in of_type(view, "QuantizeLinear"):
        signed = len(node.input) > 2 and view.dtype(node.input[2]) == TensorProto.INT8
        if signed and node.input[0] not in view.fixed:
            text = "quantises activations to int8; uint8 with int8 weights is 1.3 to 2 times faster"
            yield Finding(WARNING, called(node), text, "quantise for the CPU by itself (U8S8)")


RULES = (*COMMON, domains, number_types, quantisation)
