"""What conversions see of a graph: constants folded, norms written out, first and last known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_chain import segmentation_graph

from anomaly_seg_ros.graph_rules.check import FAULT, check_graph
from training.export import STORE_AS_HALF, store_as_half
from training.precision.errors import PrecisionError
from training.precision.graphs import first_and_last, prepared, with_bytes_at_ends


def save(model: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(model, folder / "graph.onnx")
    return folder / "graph.onnx"


def answers(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)


def test_weights_stored_in_halves_are_constants_again(tmp_path: Path) -> None:
    model = segmentation_graph()
    [first] = [tensor for tensor in model.graph.initializer if tensor.name == "first_weight"]
    assert np.prod(first.dims) >= STORE_AS_HALF
    store_as_half(model)
    assert any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)
    folded = prepared(save(model, tmp_path))
    assert all(tensor.data_type != TensorProto.FLOAT16 for tensor in folded.graph.initializer)
    assert not [node for node in folded.graph.node if node.input[0] == "first_weight_half"]


def test_first_and_last_convolutions_are_known(graph: onnx.ModelProto) -> None:
    assert first_and_last(graph, ["logits"]) == {"first", "head"}


def test_a_head_is_the_last_convolution_before_an_end_behind_other_operators(
    graph: onnx.ModelProto,
) -> None:
    assert first_and_last(graph, ["labels"]) == {"first", "head"}


def test_a_norm_before_a_convolution_becomes_a_product_and_a_sum(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {
        name: rng.uniform(0.5, 2, 3).astype(np.float32)
        for name in ("scale", "shift", "mean", "variance")
    }
    shape = [1, 3, 4, 5]
    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["values"], ["positive"]),
            helper.make_node(
                "BatchNormalization", ["positive", *constants], ["normal"], epsilon=1e-3
            ),
            helper.make_node("Relu", ["normal"], ["result"]),
        ],
        "norm",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    plain = prepared(save(model, tmp_path))
    assert [node.op_type for node in plain.graph.node] == ["Relu", "Mul", "Add", "Relu"]
    feeds = {"values": rng.standard_normal(shape).astype(np.float32)}
    np.testing.assert_allclose(answers(plain, feeds)[0], answers(model, feeds)[0], atol=1e-6)


def test_bytes_are_cast_where_tensorrt_wants_it(
    tmp_path: Path, feeds: list[dict[str, np.ndarray]]
) -> None:
    model = segmentation_graph()
    faults = [f.text for f in check_graph(model, "tensorrt") if f.severity == FAULT]
    assert len(faults) == 2  # bytes are turned, and whole numbers become bytes
    lawful = with_bytes_at_ends(prepared(save(model, tmp_path)))
    assert not [f for f in check_graph(lawful, "tensorrt") if f.severity == FAULT]
    for found, expected in zip(answers(lawful, feeds[0]), answers(model, feeds[0]), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"not a graph")
    with pytest.raises(PrecisionError, match=r"graph\.onnx cannot be prepared"):
        prepared(tmp_path / "graph.onnx")
