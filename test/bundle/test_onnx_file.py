"""Reading an ONNX file without a runtime agrees with the onnx package, and survives any bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import observer_graph, segmentation_graph

from anomaly_seg_ros.onnx_file import OnnxFormatError, OnnxModel, read_onnx

SOUND = observer_graph(64, 128).SerializeToString()


@pytest.mark.parametrize("model", [segmentation_graph(64, 128), observer_graph(32, 64)])
def test_names_types_and_shapes_are_those_of_the_onnx_package(model: onnx.ModelProto) -> None:
    found = read_onnx(model.SerializeToString())
    for ends, nodes in ((found.inputs, model.graph.input), (found.outputs, model.graph.output)):
        assert [end.name for end in ends] == [node.name for node in nodes]
        for end, node in zip(ends, nodes, strict=True):
            kind = node.type.tensor_type
            assert end.shape == tuple(dim.dim_value for dim in kind.shape.dim)
            assert end.dtype == helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    assert found.external == ()


def test_initialisers_that_are_listed_as_inputs_are_no_inputs() -> None:
    model = segmentation_graph(64, 128)
    scale = helper.make_tensor_value_info("scale", TensorProto.FLOAT, [])
    model.graph.input.append(scale)
    assert [end.name for end in read_onnx(model.SerializeToString()).inputs] == ["image"]


def test_dynamic_dimensions_keep_their_names() -> None:
    model = segmentation_graph(64, 128)
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_param = "height"
    dims[2].Clear()
    assert str(read_onnx(model.SerializeToString()).inputs[0]) == "image uint8 [1, height, ?, 3]"


def test_outside_weights_are_found_in_branches_of_the_graph() -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32), "inner")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "elsewhere.bin"
    out = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [1])
    branch = helper.make_graph([], "branch", [], [out], [tensor])
    model = segmentation_graph(64, 128)
    node = helper.make_node("If", ["flag"], ["x"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    assert read_onnx(model.SerializeToString()).external == ("elsewhere.bin",)


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_a_model_or_one_clear_error(data: bytes) -> None:
    try:
        assert isinstance(read_onnx(data), OnnxModel)
    except OnnxFormatError as error:
        assert str(error)


@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255), st.integers(0, len(SOUND)))
@settings(max_examples=100, deadline=None)
def test_a_damaged_model_is_a_model_or_one_clear_error(at: int, byte: int, length: int) -> None:
    data = bytearray(SOUND)
    data[at] = byte
    try:
        assert isinstance(read_onnx(bytes(data[:length])), OnnxModel)
    except OnnxFormatError as error:
        assert str(error)
