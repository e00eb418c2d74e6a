"""What the rules look at: a graph with the types, shapes and constants of all its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import onnx
import onnx.inliner
from onnx import TensorProto, helper, numpy_helper

FAULT, WARNING = "fault", "warning"
SMALL = 1 << 16  # values; larger constants are weights, which no rule reads as settings
RANDOM = frozenset(
    (
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Bernoulli", "Multinomial"),
    )
)


@dataclass(frozen=True)
class Finding:
    """One thing a rule objects to."""

    severity: str  # FAULT: it will not run or not compute the same; WARNING: it may not, or slowly
    node: str  # what the node is called; empty where the graph as a whole is meant
    text: str  # what was found and what was expected
    mend: str


@dataclass(frozen=True)
class GraphView:
    """A model whose local functions are inlined, with what shape inference says of it."""

    model: onnx.ModelProto
    bytes_in_file: int
    bytes_in_all: int  # with side files
    flaw: str = ""  # what the checker of the onnx package objects to
    dtypes: Mapping[str, int] = field(default_factory=dict)  # tensor -> TensorProto.DataType
    shapes: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)

    @property
    def nodes(self) -> Any:
        return self.model.graph.node

    @property
    def opset(self) -> int:
        """Version of the default operator set; 0 when the model does not say."""
        versions = [o.version for o in self.model.opset_import if o.domain in ("", "ai.onnx")]
        return max(versions, default=0)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the graph's inputs, without initialisers."""
        return tuple(v.name for v in self.model.graph.input if v.name not in self.tensors)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(v.name for v in self.model.graph.output)

    @cached_property
    def tensors(self) -> dict[str, TensorProto]:
        """Initialisers and the tensors of Constant nodes, by name."""
        found = {tensor.name: tensor for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        found[node.output[0]] = attribute.t
        return found

    @cached_property
    def fixed(self) -> frozenset[str]:
        """Tensors known before the first frame: constants, shapes, and what is computed of them."""
        known = set(self.tensors)
        for node in self.nodes:
            if node.op_type in RANDOM:
                continue
            if node.op_type in ("Shape", "Size", "Constant") or all(
                name in known for name in node.input if name
            ):
                known.update(node.output)
        return frozenset(known)

    @cached_property
    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def dtype(self, name: str) -> int:
        """TensorProto.DataType of a tensor; UNDEFINED where inference does not reach."""
        return self.dtypes.get(name, TensorProto.UNDEFINED)

    def value(self, name: str) -> np.ndarray | None:
        """A small constant's value; None where it is computed, large, or not there."""
        tensor = self.tensors.get(name)
        if tensor is None or int(np.prod(tensor.dims)) > SMALL:
            return None
        if tensor.data_location == TensorProto.EXTERNAL:
            return None
        return numpy_helper.to_array(tensor)


def view_graph(
    model: onnx.ModelProto, bytes_in_file: int = 0, bytes_in_all: int | None = None
) -> GraphView:
    """Inline the local functions of a model and find out types and shapes.

    bytes_in_file, bytes_in_all: size of the file, and with its side files.
    """
    flaw = ""
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    known = model
    for strict in (True, False):
        try:
            known = onnx.shape_inference.infer_shapes(
                model, check_type=strict, strict_mode=strict, data_prop=strict
            )
            break
        except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            flaw = flaw or " ".join(str(error).split())
    dtypes, shapes = {}, {}
    for value in (*known.graph.value_info, *known.graph.input, *known.graph.output):
        tensor = value.type.tensor_type
        dtypes[value.name] = tensor.elem_type
        if tensor.HasField("shape"):
            shapes[value.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                for dim in tensor.shape.dim
            )
    total = bytes_in_file if bytes_in_all is None else bytes_in_all
    view = GraphView(model, bytes_in_file, total, flaw, dtypes, shapes)
    for name, tensor in view.tensors.items():
        dtypes[name] = tensor.data_type
        shapes[name] = tuple(tensor.dims)
    return view


def called(node: onnx.NodeProto) -> str:
    """How messages call a node: operator and name, or what it makes where it has no name."""
    return f"{node.op_type} {node.name or '-> ' + ', '.join(node.output)}"


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """An attribute's value; texts as str."""
    for entry in node.attribute:
        if entry.name == name:
            value = helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def of_type(view: GraphView, *operators: str) -> Iterator[onnx.NodeProto]:
    """The nodes of these operators, in graph order."""
    return (node for node in view.nodes if node.op_type in operators)


def type_name(dtype: int) -> str:
    """float32, int64 ... as bundles call them."""
    name = TensorProto.DataType.Name(dtype).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)
