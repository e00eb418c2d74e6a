"""Look at an ONNX model without running or even importing a runtime: its ends and side files.

ONNX files are protocol buffers; the few field numbers used here are those of onnx.proto (ONNX IR
specification). Read are the graph's inputs and outputs and every tensor that keeps its data in
another file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# TensorProto.DataType -> the dtype names of a bundle
ELEMENT_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
}
EXTERNAL = 1  # TensorProto.DataLocation
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protocol buffer wire types


@dataclass(frozen=True)
class GraphEnd:
    """One input or output as a graph declares it; a dynamic dimension is a name or "?"."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(str(dim) for dim in self.shape)}]"


@dataclass(frozen=True)
class OnnxModel:
    """What an ONNX model says about itself."""

    inputs: tuple[GraphEnd, ...]  # without initialisers, which old files also list as inputs
    outputs: tuple[GraphEnd, ...]
    external: tuple[str, ...]  # locations of weights outside the file, sorted


class OnnxFormatError(ValueError):
    """Bytes that are no ONNX model. Whoever reads a bundle turns it into a fault."""


@dataclass(frozen=True)
class Message:
    """A stretch of bytes that holds one protocol buffer message."""

    data: bytes
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, Message | int]]:
        """Field number and value: a Message for length-delimited fields, else a number."""
        at = self.start
        while at < self.end:
            tag, at = self._varint(at)
            number, wire = tag >> 3, tag & 7
            if wire == VARINT:
                value, at = self._varint(at)
                yield number, value
            elif wire == BYTES:
                size, at = self._varint(at)
                if at + size > self.end:
                    raise OnnxFormatError(
                        "broken protocol buffer: a field ends outside its message"
                    )
                yield number, Message(self.data, at, at + size)
                at += size
            elif wire in (FIXED64, FIXED32):
                at += 8 if wire == FIXED64 else 4
            else:
                raise OnnxFormatError(f"broken protocol buffer: wire type {wire}")

    def children(self, *numbers: int) -> Iterator[Message]:
        """The messages (or strings) stored under these field numbers, in file order."""
        for number, value in self.fields():
            if number in numbers and isinstance(value, Message):
                yield value

    def text(self, number: int) -> str:
        """The string stored under a field number; empty when absent."""
        for child in self.children(number):
            return self.data[child.start : child.end].decode("utf-8", "replace")
        return ""

    def whole(self, number: int) -> int | None:
        """The number stored under a field number; None when absent."""
        for found, value in self.fields():
            if found == number and isinstance(value, int):
                return value
        return None

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while at < self.end and shift < 64:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
            shift += 7
        raise OnnxFormatError("broken protocol buffer: a number does not end")


def read_onnx(data: bytes) -> OnnxModel:
    """Read the ends and side files of an ONNX model. Raises OnnxFormatError."""
    model = Message(data, 0, len(data))
    graphs = list(model.children(7))  # ModelProto.graph
    if not graphs:
        raise OnnxFormatError("no graph in it: not an ONNX model")
    graph = graphs[-1]
    initialisers = {tensor.text(8) for tensor in graph.children(5)}
    inputs = [_graph_end(info) for info in graph.children(11)]
    return OnnxModel(
        tuple(end for end in inputs if end.name not in initialisers),
        tuple(_graph_end(info) for info in graph.children(12)),
        tuple(sorted(_external_locations(model))),
    )


def _graph_end(info: Message) -> GraphEnd:
    """A ValueInfoProto: name = 1, type = 2; there tensor_type = 1 with elem_type 1, shape 2."""
    name, dtype = info.text(1), "no tensor"
    shape: list[int | str] = []
    for kind in info.children(2):
        for tensor in kind.children(1):
            element = tensor.whole(1) or 0
            dtype = ELEMENT_TYPES.get(element, f"ONNX type {element}")
            for dims in tensor.children(2):
                for dim in dims.children(1):  # dim_value = 1, dim_param = 2
                    size = dim.whole(1)
                    shape.append(size if size is not None else dim.text(2) or "?")
    return GraphEnd(name, dtype, tuple(shape))


def _external_locations(model: Message) -> set[str]:
    """Where tensors keep data outside the file: initialisers, attributes and nested graphs."""
    tensors: list[Message] = []
    graphs = list(model.children(7))
    nodes = [node for function in model.children(25) for node in function.children(7)]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            nodes.extend(graph.children(1))
            tensors.extend(graph.children(5))
            tensors.extend(part for sparse in graph.children(15) for part in sparse.children(1, 2))
        else:
            for attribute in nodes.pop().children(5):
                tensors.extend(attribute.children(5, 10))  # t, tensors
                graphs.extend(attribute.children(6, 11))  # g, graphs
                for sparse in attribute.children(22, 23):
                    tensors.extend(sparse.children(1, 2))
    return {_location(tensor) for tensor in tensors if tensor.whole(14) == EXTERNAL}


def _location(tensor: Message) -> str:
    for entry in tensor.children(13):  # StringStringEntryProto: key = 1, value = 2
        if entry.text(1) == "location":
            return entry.text(2)
    return ""
