"""A node of an ONNX graph as the torch operators want it: attributes and constants as Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto

from anomaly_seg_ros.errors import BundleError

DTYPES = {
    TensorProto.BOOL: torch.bool,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.INT8: torch.int8,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
}
Inputs = Sequence[Any]  # of an operator: tensors, and None for an empty slot


class UnsupportedGraph(BundleError):
    """A graph with an operator, or a use of one, that has no counterpart here."""


@dataclass(frozen=True)
class Node:
    """One operator; constants: every tensor of the graph whose values are known beforehand."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constants: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, proto: onnx.NodeProto, constants: Mapping[str, np.ndarray]) -> Node:
        """A node of a graph; text attributes become str."""
        attributes = {}
        for attribute in proto.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
        name = proto.name or f"{proto.op_type} to {', '.join(proto.output)}"
        op = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
        return cls(op, name, tuple(proto.input), tuple(proto.output), attributes, constants)

    def get(self, attribute: str, default: Any) -> Any:
        """An attribute or its default."""
        return self.attributes.get(attribute, default)

    def demand(self, attribute: str, *allowed: Any) -> None:
        """Raise UnsupportedGraph unless the attribute is absent or one of `allowed`."""
        value = self.attributes.get(attribute, allowed[0])
        if value not in allowed:
            raise self.refused(
                f"{attribute} is {value!r}, expected {' or '.join(map(str, allowed))}"
            )

    def wholes(self, slot: int, attribute: str = "") -> list[int] | None:
        """Whole numbers of a constant input, or of the attribute that held them in older opsets;
        None where there are neither. Raises UnsupportedGraph for an input that is no constant."""
        if attribute and attribute in self.attributes:
            return [int(value) for value in self.attributes[attribute]]
        array = self.constant(slot)
        return None if array is None else [int(value) for value in array.ravel()]

    def constant(self, slot: int) -> np.ndarray | None:
        """Values of a constant input; None where the slot is empty."""
        if slot >= len(self.inputs) or not self.inputs[slot]:
            return None
        if self.inputs[slot] not in self.constants:
            raise self.refused(f"its input {self.inputs[slot]} is no constant")
        return self.constants[self.inputs[slot]]

    def refused(self, reason: str) -> UnsupportedGraph:
        """The error that says why this node cannot be translated."""
        return UnsupportedGraph(
            f"node {self.name} ({self.op}): {reason}: run the bundle on onnxruntime or tensorrt"
        )
