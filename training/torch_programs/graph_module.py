"""A stage's ONNX graph as a torch module: the same operators on the same weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from anomaly_seg_ros.bundle import StageSpec
from training.torch_programs.nodes import Node, UnsupportedGraph
from training.torch_programs.operators import OPERATORS


class GraphModule(nn.Module):
    """forward(*inputs in the stage's order) -> its outputs in the stage's order, as a tuple.

    What depends on constants alone is computed once.
    """

    def __init__(self, stage: StageSpec, file: Path) -> None:
        """Raises UnsupportedGraph listing the operators that have no counterpart."""
        super().__init__()
        self.inputs = stage.inputs
        self.outputs = tuple(spec.name for spec in stage.outputs)
        model = onnx.load(file)
        unknown = sorted({node.op_type for node in model.graph.node} - set(OPERATORS))
        if unknown:
            raise UnsupportedGraph(
                f"{file.name} has the operators {', '.join(unknown)}, which have no counterpart in "
                "torch here: run the bundle on onnxruntime or tensorrt"
            )
        self.constants: dict[str, np.ndarray] = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self.nodes: list[Node] = []
        for proto in model.graph.node:
            node = Node.of(proto, self.constants)
            if all(not name or name in self.constants for name in node.inputs):
                self._fold(node)
            else:
                self.nodes.append(node)
        self.places = self._keep_constants()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        values: dict[str, Tensor] = dict(zip(self.inputs, inputs, strict=True))
        for node in self.nodes:
            made = OPERATORS[node.op](node, [self._value(name, values) for name in node.inputs])
            results = made if isinstance(made, tuple) else (made,)
            values.update(zip(node.outputs, results, strict=False))
        return tuple(values[name] for name in self.outputs)

    def _value(self, name: str, values: dict[str, Tensor]) -> Tensor | None:
        if not name:
            return None
        return values[name] if name in values else getattr(self, self.places[name])

    def _fold(self, node: Node) -> None:
        """Compute a node of constants; its outputs are constants from here on."""
        inputs = [torch.from_numpy(np.array(self.constants[n])) if n else None for n in node.inputs]
        made = OPERATORS[node.op](node, inputs)
        results = made if isinstance(made, tuple) else (made,)
        for name, value in zip(node.outputs, results, strict=False):
            self.constants[name] = value.numpy()

    def _keep_constants(self) -> dict[str, str]:
        """Constants that nodes read become buffers; tensor -> the buffer's name."""
        places: dict[str, str] = {}
        names = dict.fromkeys(name for node in self.nodes for name in node.inputs)
        for name in names:
            if name in self.constants:
                places[name] = f"constant_{len(places)}"
                values = torch.from_numpy(np.array(self.constants[name]))
                self.register_buffer(places[name], values)
        return places
