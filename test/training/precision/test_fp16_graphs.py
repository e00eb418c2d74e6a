"""fp16 where it is safe: trunks in halves, islands and ends in fp32, ranges measured on images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_chain import observer_graph, write_small_chain

from anomaly_seg_ros.bundle_check import compare_ends
from anomaly_seg_ros.onnx_file import read_onnx
from training.precision.graphs import prepared
from training.precision.half import mixed_precision
from training.precision.ranges import (
    LARGEST,
    SMALLEST_NORMAL,
    TensorRange,
    constant_ranges,
    measure_ranges,
    report_lines,
)


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def test_the_largest_value_of_every_tensor_over_all_images_is_found(
    graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    found = measure_ranges(graph, feeds)
    means = [feed["image"].reshape(16, 4, 32, 4, 3).mean(axis=(1, 3)) / 255 for feed in feeds]
    assert found["positive"].max_abs == pytest.approx(
        max(max(mean.max(), (1 - mean).max()) for mean in means), abs=1e-5
    )
    logits = max(np.abs(run(graph, feed)["logits"]).max() for feed in feeds)
    assert found["logits"].max_abs == pytest.approx(logits, rel=1e-6)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (TensorRange("t", 100.0, 0.1), ""),
        (TensorRange("t", 0.6 * LARGEST, 0.0), "reaches 3.93e+04, fp16 ends at 65504"),
        (TensorRange("t", float("nan"), 0.0), "reaches nan, fp16 ends at 65504"),
        (TensorRange("t", 1.0, 0.9), "90% of its values lie below 6.1e-05"),
    ],
)
def test_what_fp16_does_not_hold_is_told(entry: TensorRange, fault: str) -> None:
    assert entry.fault == fault


def test_values_below_the_smallest_normal_half_are_counted_among_those_not_zero() -> None:
    model = observer_graph()
    values = np.array([0, 0, SMALLEST_NORMAL / 2, 1], np.float32)
    model.graph.initializer.append(numpy_helper.from_array(values, "small"))
    assert constant_ranges(model)["small"].subnormal == 0.5


def test_convolutions_run_in_halves_between_fp32_preprocessing_and_ends(
    graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    mixed = mixed_precision(graph, measure_ranges(graph, feeds))
    assert set(mixed.halves) == {
        "first",
        "positive",
        "mix",
        "mixed_positive",
        "spread",
        "mix_again",
        "head",
    }
    casts = [n.output[0] for n in mixed.model.graph.node if n.name.startswith("cast_")]
    assert casts == ["colors_fp16", "logits"] and mixed.casts == 2
    types = {tensor.name: tensor.data_type for tensor in mixed.model.graph.initializer}
    assert types["mix_weight_fp16"] == TensorProto.FLOAT16 and "mix_weight" not in types
    assert types["scale"] == TensorProto.FLOAT


def test_inputs_and_outputs_stay_as_the_bundle_declares_them(
    chain, graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    mixed = mixed_precision(graph, measure_ranges(graph, feeds))
    ends = read_onnx(mixed.model.SerializeToString())
    stage = chain.stages[0]
    assert not compare_ends("stage", "inputs", [chain.input.image], ends.inputs)
    assert not compare_ends("stage", "outputs", stage.outputs, ends.outputs)


def test_halves_answer_nearly_as_singles(
    graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    mixed = mixed_precision(graph, measure_ranges(graph, feeds)).model
    for feed in feeds:
        expected, found = run(graph, feed), run(mixed, feed)
        assert (expected["labels"] == found["labels"]).all()
        np.testing.assert_allclose(found["logits"], expected["logits"], atol=0.15)


def test_softmax_and_reductions_without_a_convolution_stay_as_they_are() -> None:
    model = onnx.shape_inference.infer_shapes(observer_graph())
    mixed = mixed_precision(model, {})
    assert mixed.halves == () and mixed.casts == 0
    assert [n.op_type for n in mixed.model.graph.node] == ["Softmax", "ReduceMax", "Sub"]


def test_a_tensor_beyond_fp16_keeps_its_neighbours_in_fp32_and_is_named(
    tmp_path: Path, feeds: list[dict[str, np.ndarray]]
) -> None:
    wide = prepared(write_small_chain(tmp_path / "wide", gain=300.0).stages[0].files[0].path)
    mixed = mixed_precision(wide, measure_ranges(wide, feeds))
    assert list(mixed.named) == ["mixed_again"]
    assert mixed.named["mixed_again"].endswith("fp16 ends at 65504")
    assert "mix" in mixed.halves and not {"mix_again", "head"} & set(mixed.halves)
    for feed in feeds:
        assert (run(wide, feed)["labels"] == run(mixed.model, feed)["labels"]).all()


def test_a_node_can_be_kept_in_fp32_by_name(
    graph: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    mixed = mixed_precision(graph, measure_ranges(graph, feeds), kept=("head",))
    assert "head" not in mixed.halves and "mix_again" in mixed.halves


def test_comparisons_between_halves_are_made_on_halves(tmp_path: Path) -> None:
    shape = [1, 2, 4, 4]
    weight = np.eye(2, dtype=np.float32)[:, :, None, None]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["values", "weight"], ["a"], name="one"),
            helper.make_node("Conv", ["values", "weight"], ["b"], name="two"),
            helper.make_node("GreaterOrEqual", ["a", "b"], ["larger"], name="compare"),
            helper.make_node("Not", ["larger"], ["smaller"], name="not"),
            helper.make_node("Where", ["smaller", "b", "a"], ["chosen"], name="choose"),
            helper.make_node("Conv", ["chosen", "weight"], ["result"], name="three"),
        ],
        "tournament",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    mixed = mixed_precision(onnx.shape_inference.infer_shapes(model), {})
    assert {"compare", "choose"} <= set(mixed.halves)
    assert mixed.casts == 2  # of the input and the output alone


def test_the_report_names_the_largest_tensors_first() -> None:
    entries = [TensorRange("small", 1.0, 0.0), TensorRange("large", 900.0, 0.0)]
    lines = report_lines("segmentation", {entry.name: entry for entry in entries})
    assert lines[0] == "segmentation: 2 tensors"
    assert lines[1].split() == ["large", "max", "|x|", "900", "large"]
