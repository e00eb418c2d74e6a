"""int8 graphs: which nodes, in which form, and what each target demands of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from small_chain import observer_graph

from training.precision.int8 import Calibrated, blocks, calibrate, quantized


@pytest.fixture(scope="module")
def calibrated(graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]) -> Calibrated:
    return calibrate(graph, feeds)


def inner(calibrated: Calibrated) -> list:
    return [b for b in blocks(calibrated.model) if b.name not in ("first", "head")]


def of_type(model: onnx.ModelProto, *kinds: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type in kinds]


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_a_block_is_a_convolution_and_what_carries_its_result_on(graph: onnx.ModelProto) -> None:
    found = {block.name: block.nodes for block in blocks(graph)}
    assert found == {
        "first": ("first", "positive"),
        "mix": ("mix", "mixed_positive"),
        "spread": ("spread",),
        "mix_again": ("mix_again",),
        "head": ("head",),
    }


def test_a_stage_without_convolutions_has_no_blocks() -> None:
    assert blocks(observer_graph()) == []


def test_no_chosen_blocks_leave_the_graph_as_it_was(calibrated: Calibrated) -> None:
    assert quantized(calibrated, [], "qdq") == calibrated.model


def test_cpu_graphs_have_unsigned_activations_and_signed_weights_per_channel(
    calibrated: Calibrated,
) -> None:
    model = quantized(calibrated, inner(calibrated), "qdq")
    values = constants(model)
    activations = {values[n.input[2]].dtype.name for n in of_type(model, "QuantizeLinear")}
    assert activations == {"uint8"}
    weights = [
        values[n.input[0]]
        for n in of_type(model, "DequantizeLinear")
        if n.input[0] in values and values[n.input[0]].ndim == 4
    ]
    assert {w.dtype.name for w in weights} == {"int8"} and len(weights) == 3
    scales = [
        values[n.input[1]].size
        for n in of_type(model, "DequantizeLinear")
        if n.input[0] in values and values[n.input[0]].ndim == 4
    ]
    assert scales == [6, 6, 6]


def test_first_and_last_convolutions_read_fp32_when_they_are_not_chosen(
    calibrated: Calibrated,
) -> None:
    model = quantized(calibrated, inner(calibrated), "qdq")
    first, *_, head = (node for node in model.graph.node if node.name in ("first", "head"))
    assert (first.input[0], first.input[1]) == ("colors", "first_weight")
    assert head.input[1] == "head_weight"


def test_the_operator_form_quantises_the_same_convolutions(calibrated: Calibrated) -> None:
    model = quantized(calibrated, inner(calibrated), "qoperator")
    assert len(of_type(model, "QLinearConv")) == 3 and len(of_type(model, "Conv")) == 2


def test_tensorrt_graphs_are_symmetric_without_quantised_biases(calibrated: Calibrated) -> None:
    model = quantized(calibrated, inner(calibrated), "tensorrt")
    values = constants(model)
    pairs = of_type(model, "QuantizeLinear", "DequantizeLinear")
    assert pairs
    for node in pairs:
        zero = values[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
    assert all(values.get(n.input[0], np.int8(0)).dtype != np.int32 for n in pairs)
    assert {entry.domain for entry in model.opset_import} == {""}


def test_tensorrt_graphs_mark_what_convolutions_read_not_what_they_give(
    calibrated: Calibrated,
) -> None:
    model = quantized(calibrated, inner(calibrated), "tensorrt")
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    for node in model.graph.node:
        if node.name in ("mix", "spread", "mix_again"):
            assert [made[name] for name in node.input[:2]] == ["DequantizeLinear"] * 2
    readers = [n.name for n in model.graph.node if n.input[0] == "mixed"]
    assert readers == ["mixed_positive"]  # the activation follows at once: they fuse


@pytest.mark.parametrize("form", ["qdq", "qoperator", "tensorrt"])
def test_every_form_answers_nearly_as_fp32(
    calibrated: Calibrated, feeds: list[dict[str, np.ndarray]], form: str
) -> None:
    model = quantized(calibrated, inner(calibrated), form)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    expected = onnxruntime.InferenceSession(calibrated.model.SerializeToString())
    for feed in feeds:
        same = session.run(["labels"], feed)[0] == expected.run(["labels"], feed)[0]
        assert same.mean() > 0.97
    assert {o.type for o in session.get_outputs()} == {"tensor(float)", "tensor(uint8)"}


def test_graphs_keep_their_operator_set(calibrated: Calibrated) -> None:
    for form in ("qdq", "tensorrt"):
        model = quantized(calibrated, inner(calibrated), form)
        assert [(e.domain, e.version) for e in model.opset_import] == [("", 18)]
        assert all(t.data_type != TensorProto.UNDEFINED for t in model.graph.initializer)
