"""Rules over graphs: what TensorRT and ONNX Runtime's CPU cannot run, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tiny_bundle import (
    dissimilarity_graph,
    observer_graph,
    resynthesis_graph,
    segmentation_graph,
    tiny_description,
)
from user_networks import graph, write_network

from anomaly_seg_ros.bundle import Bundle, shipped_bundles, write_bundle
from anomaly_seg_ros.cli.bundle import CHECK_TARGETS
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.graph_rules.check import (
    FAULT,
    RULES,
    WARNING,
    Finding,
    check_bundle,
    check_graph,
)
from anomaly_seg_ros.graph_rules.operators import (
    DEPENDS_ON_DATA,
    EVERYTHING,
    FLOATS,
    MENDS,
    NEWER,
    NUMBERS,
)

FLOAT, HALF, INT64, UINT8 = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.INT64,
    TensorProto.UINT8,
)
TRT, CPU = "tensorrt", "onnxruntime-cpu"
node = helper.make_node


def value(name: str, shape: list[Any] | None = None, dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, [1, 4, 8, 8] if shape is None else shape)


def judge(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto] | None = None,
    outputs: list[onnx.ValueInfoProto] | None = None,
    constants: dict[str, Any] | None = None,
    opset: int = 18,
    target: str = TRT,
) -> list[tuple[str, str, str]]:
    """Severity, node and text of what is found in a graph x -> y."""
    model = graph(nodes, inputs or [value("x")], outputs or [value("y")], constants, opset)
    return [(f.severity, f.node, f.text) for f in check_graph(model, target)]


def the_one(found: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    (finding,) = found
    return finding


# ---- bundles


def test_shipped_bundles_keep_the_rules_of_the_cpu() -> None:
    for name in shipped_bundles():
        for report in check_bundle(Bundle.open(name), CPU):
            assert report.findings == (), name


def test_shipped_bundles_keep_the_rules_of_tensorrt_except_for_uint8() -> None:
    for name in shipped_bundles():
        for report in check_bundle(Bundle.open(name), TRT):
            assert [f for f in report.findings if "uint8" not in f.text] == [], name


@pytest.mark.parametrize("target", CHECK_TARGETS)
def test_the_tiny_graphs_keep_all_rules_once_labels_are_cast_by_way_of_float(target: str) -> None:
    segmentation = segmentation_graph(64, 128)
    last = segmentation.graph.node.pop()
    between = node("Cast", [last.input[0]], ["as_float"], to=FLOAT)
    segmentation.graph.node.extend([between, node("Cast", ["as_float"], ["labels"], to=UINT8)])
    models = [
        segmentation,
        observer_graph(64, 128),
        resynthesis_graph(64, 128),
        dissimilarity_graph(64, 128),
    ]
    for model in models:
        assert check_graph(model, target) == []


def test_a_stage_without_a_graph_for_the_target_is_a_fault(tiny: Path) -> None:
    text = (tiny / "bundle.yaml").read_text()
    assert text.count("for: any") == 2
    (tiny / "bundle.yaml").write_text(text.replace("for: any", "for: onnxruntime-cpu"))
    reports = check_bundle(Bundle.open(tiny), TRT)
    assert [report.stage for report in reports] == ["segmentation", "observer"]
    for report in reports:
        assert report.file is None and report.faulty
        assert report.findings[0].text == (
            "no graph that tensorrt can run; there is fp32 for onnxruntime-cpu"
        )


def test_the_graph_made_for_the_target_is_judged_in_place_of_the_one_for_any(
    tmp_path: Path,
) -> None:
    for name in ("any", "cpu"):
        onnx.save(segmentation_graph(64, 128), tmp_path / f"{name}.onnx")
    onnx.save(observer_graph(64, 128), tmp_path / "observer.onnx")
    made = write_bundle(
        tmp_path / "made",
        description=tiny_description(),
        stage_files={
            "segmentation": {
                "fp32": tmp_path / "any.onnx",
                "fp32@onnxruntime-cpu": tmp_path / "cpu.onnx",
            },
            "observer": {"fp32": tmp_path / "observer.onnx"},
        },
    )
    judged = {target: check_bundle(made, target)[0].file for target in CHECK_TARGETS}
    assert {target: file.target for target, file in judged.items() if file} == {
        TRT: "any",
        CPU: CPU,
    }


def test_unknown_targets_are_refused(tiny: Path) -> None:
    with pytest.raises(BundleError, match="there are rules for tensorrt, onnxruntime-cpu"):
        check_bundle(Bundle.open(tiny), "openvino")
    assert tuple(RULES) == CHECK_TARGETS


# ---- TensorRT: operators


def test_every_operator_has_one_place_in_the_table() -> None:
    groups = [NUMBERS, FLOATS, EVERYTHING, NEWER, DEPENDS_ON_DATA]
    assert sum(map(len, groups)) == len(frozenset.union(*groups))
    schemas = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    # Operators of the time before ONNX 1.0, which TensorRT still lists
    assert frozenset.union(*groups, MENDS) - schemas <= {
        "ImageScaler",
        "ParametricSoftplus",
        "ScaledTanh",
    }


def test_operators_that_tensorrt_lacks_are_faults_with_a_mend() -> None:
    nodes = [
        node("MaxPool", ["x"], ["pooled", "where"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node(
            "MaxUnpool", ["pooled", "where"], ["y"], "unpool", kernel_shape=[2, 2], strides=[2, 2]
        ),
    ]
    found = judge(nodes)
    assert found == [
        (FAULT, "MaxPool pool", "gives Indices, which TensorRT cannot"),
        (FAULT, "MaxUnpool unpool", "is not supported by TensorRT"),
    ]
    model = graph(nodes, [value("x")], [value("y")])
    assert all("GreaterOrEqual" in finding.mend for finding in check_graph(model, TRT))
    assert check_graph(model, CPU) == []


def test_col2im_is_a_fault() -> None:
    severity, named, _ = the_one(
        judge(
            [node("Col2Im", ["x", "size", "block"], ["y"], "fold")],
            [value("x", [1, 16, 4])],
            [value("y", [1, 4, 4, 4])],
            {"size": np.array([4, 4]), "block": np.array([2, 2])},
        )
    )
    assert (severity, named) == (FAULT, "Col2Im fold")


def test_sizes_that_depend_on_the_pixels_are_faults() -> None:
    found = judge(
        [
            node("NonZero", ["x"], ["where"], "find"),
            node("Shape", ["where"], ["shape"]),
            node("Gather", ["shape", "one"], ["count"]),
            node("Cast", ["count"], ["y"], to=FLOAT),
        ],
        outputs=[value("y", [])],
        constants={"one": np.array(1)},
    )
    assert the_one(found)[:2] == (FAULT, "NonZero find")


def test_branches_are_faults() -> None:
    branches = {
        f"{name}_branch": helper.make_graph(
            [node(operator, ["x"], [f"{name}_y"])], name, [], [value(f"{name}_y")]
        )
        for name, operator in (("then", "Neg"), ("else", "Relu"))
    }
    found = judge(
        [
            node("ReduceMax", ["x"], ["largest"], keepdims=0),
            node("Greater", ["largest", "zero"], ["bright"]),
            node("If", ["bright"], ["y"], "choose", **branches),
        ],
        constants={"zero": np.float32(0)},
    )
    assert the_one(found)[:2] == (FAULT, "If choose")


def test_operators_of_other_domains_are_faults_only_where_nobody_knows_them() -> None:
    def network(domain: str, target: str) -> list[tuple[str, str, str]]:
        nodes = [node("FusedConv", ["x", "w"], ["y"], "own", domain=domain)]
        model = graph(nodes, [value("x")], [value("y")], {"w": np.ones((4, 4, 1, 1), np.float32)})
        model.opset_import.append(helper.make_opsetid(domain, 1))
        return [(f.severity, f.node, f.text) for f in check_graph(model, target)]

    assert "domain com.microsoft" in the_one(network("com.microsoft", TRT))[2]
    assert network("com.microsoft", CPU) == []
    assert "domain my.company" in the_one(network("my.company", CPU))[2]


def test_operators_of_new_releases_only_are_warnings() -> None:
    found = judge(
        [node("RMSNormalization", ["x", "scale"], ["y"], "norm")],
        constants={"scale": np.ones(8, np.float32)},
        opset=23,
    )
    assert (WARNING, "RMSNormalization norm", "is read by TensorRT 10.15 and later only") in found


def test_whole_numbers_where_floats_are_listed_are_warnings() -> None:
    found = judge(
        [
            node("ArgMax", ["x"], ["ids"], axis=1),
            node("Resize", ["ids", "", "", "sizes"], ["large"], "enlarge", mode="nearest"),
            node("Cast", ["large"], ["y"], to=FLOAT),
        ],
        outputs=[value("y", [1, 1, 16, 16])],
        constants={"sizes": np.array([1, 1, 16, 16])},
    )
    assert the_one(found) == (
        WARNING,
        "Resize enlarge",
        "takes int64; TensorRT lists it for floats",
    )


# ---- TensorRT: uint8


IMAGE = value("image", [1, 8, 8, 3], UINT8)
PLANES = value("y", [1, 3, 8, 8])


def test_an_image_is_cast_before_anything_else() -> None:
    cast = node("Cast", ["image"], ["pixels"], to=FLOAT)
    move = node("Transpose", ["pixels"], ["y"], perm=[0, 3, 1, 2])
    assert judge([cast, move], [IMAGE], [PLANES]) == []

    move = node("Transpose", ["image"], ["planes"], "move", perm=[0, 3, 1, 2])
    cast = node("Cast", ["planes"], ["y"], to=FLOAT)
    assert the_one(judge([move, cast], [IMAGE], [PLANES])) == (
        FAULT,
        "Transpose move",
        "works on uint8 (image, planes)",
    )


@pytest.mark.parametrize(("kind", "fits"), [(FLOAT, True), (HALF, True), (INT64, False)])
def test_labels_become_uint8_from_floats_only(kind: int, fits: bool) -> None:
    found = judge(
        [
            node("ArgMax", ["x"], ["ids"], axis=1, keepdims=0),
            node("Cast", ["ids"], ["numbers"], to=kind),
            node("Cast", ["numbers"], ["labels"], "last", to=UINT8),
        ],
        outputs=[value("labels", [1, 8, 8], UINT8)],
    )
    assert [finding[:2] for finding in found] == ([] if fits else [(FAULT, "Cast last")])


def test_uint8_inside_a_graph_is_a_fault() -> None:
    found = judge(
        [
            node("Cast", ["x"], ["small"], "shrink", to=UINT8),
            node("Cast", ["small"], ["y"], to=FLOAT),
        ]
    )
    assert the_one(found) == (FAULT, "Cast shrink", "makes small uint8 inside the graph")


def test_an_output_of_uint8_is_not_read_again() -> None:
    found = judge(
        [
            node("Cast", ["x"], ["labels"], to=UINT8),
            node("Cast", ["labels"], ["y"], "again", to=FLOAT),
        ],
        outputs=[value("labels", dtype=UINT8), value("y")],
    )
    assert the_one(found)[:2] == (FAULT, "Cast again")


@pytest.mark.parametrize("kind", [INT64, TensorProto.INT32, TensorProto.BOOL])
def test_uint8_inputs_become_floats_first(kind: int) -> None:
    found = judge(
        [
            node("Cast", ["labels"], ["ids"], "ids", to=kind),
            node("Cast", ["ids"], ["y"], to=FLOAT),
        ],
        [value("labels", [1, 8, 8], UINT8)],
        [value("y", [1, 8, 8])],
    )
    assert the_one(found)[:2] == (FAULT, "Cast ids")


def test_uint8_constants_are_faults() -> None:
    found = judge(
        [node("Cast", ["table"], ["t"], "read", to=FLOAT), node("Add", ["x", "t"], ["y"])],
        constants={"table": np.zeros(8, np.uint8)},
    )
    assert the_one(found)[:2] == (FAULT, "Cast read")


# ---- TensorRT: settings of operators


@pytest.mark.parametrize(("opset", "faults"), [(16, 0), (19, 0), (20, 1)])
def test_grid_sample_is_refused_from_opset_20(opset: int, faults: int) -> None:
    mode = "linear" if opset >= 20 else "bilinear"
    found = judge(
        [node("GridSample", ["x", "grid"], ["y"], "warp", mode=mode)],
        [value("x"), value("grid", [1, 8, 8, 2])],
        opset=opset,
    )
    assert [f for f in found if f[0] == FAULT] == [
        (FAULT, "GridSample warp", "at opset 20 takes the nearest pixel instead of interpolating")
    ] * faults


@pytest.mark.parametrize(
    ("settings", "objection"),
    [
        ({"mode": "linear"}, ""),
        ({"mode": "linear", "coordinate_transformation_mode": "align_corners"}, ""),
        ({"mode": "nearest", "nearest_mode": "floor"}, ""),
        ({"mode": "cubic"}, "mode is cubic"),
        ({"mode": "linear", "antialias": 1}, "antialias is 1, expected 0"),
        (
            {"mode": "linear", "coordinate_transformation_mode": "half_pixel_symmetric"},
            "coordinate_transformation_mode is half_pixel_symmetric",
        ),
        (
            {"mode": "linear", "keep_aspect_ratio_policy": "not_larger"},
            "keep_aspect_ratio_policy is not_larger",
        ),
    ],
)
def test_resize_modes(settings: dict[str, Any], objection: str) -> None:
    found = judge(
        [node("Resize", ["x", "", "", "sizes"], ["y"], "r", **settings)],
        outputs=[value("y", [1, 4, 16, 16])],
        constants={"sizes": np.array([1, 4, 16, 16])},
        opset=19,
    )
    assert bool(found) == bool(objection)
    if objection:
        assert any(one[0] == FAULT and one[2].startswith(objection) for one in found)


def test_resizes_to_one_pixel_and_by_fractions_are_warnings() -> None:
    half_pixel = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    one = judge(
        [node("Resize", ["x", "", "", "sizes"], ["y"], "r", **half_pixel)],
        outputs=[value("y", [1, 4, 1, 1])],
        constants={"sizes": np.array([1, 4, 1, 1])},
    )
    assert the_one(one)[0] == WARNING and "not the mean" in the_one(one)[2]
    fraction = judge(
        [node("Resize", ["x", "", "scales"], ["y"], "r", mode="linear")],
        outputs=[value("y", [1, 4, 12, 12])],
        constants={"scales": np.array([1, 1, 1.5, 1.5], np.float32)},
    )
    assert the_one(fraction)[0] == WARNING and "1.5" in the_one(fraction)[2]


def test_axes_from_shapes_are_constants_and_from_pixels_are_not() -> None:
    # 4 of [1, 4, 8, 8] minus 3 is axis 1: known once the shape is
    from_shape = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["four"]),
        node("Sub", ["four", "three"], ["axes"]),
        node("ReduceSum", ["x", "axes"], ["y"], "sum", keepdims=0),
    ]
    constants = {"one": np.array([1]), "three": np.array([3])}
    outputs = [value("y", [1, 8, 8])]
    assert judge(from_shape, outputs=outputs, constants=constants) == []

    from_pixels = [
        node("ArgMax", ["v"], ["axes"], axis=0, keepdims=1),
        node("ReduceSum", ["x", "axes"], ["y"], "sum", keepdims=0),
    ]
    found = judge(from_pixels, [value("x"), value("v", [3])], outputs)
    assert (
        FAULT,
        "ReduceSum sum",
        "computes its axes from the image, expected a constant",
    ) in found


@pytest.mark.parametrize(
    ("operator", "settings", "objection"),
    [
        ("MaxPool", {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2] * 4}, "dilations"),
        ("MaxPool", {"kernel_shape": [3, 3], "pads": [1] * 4}, ""),
        (
            "AveragePool",
            {"kernel_shape": [3, 3], "dilations": [2, 2], "pads": [2] * 4},
            "dilations",
        ),
    ],
)
def test_pooling_is_not_dilated(operator: str, settings: dict[str, Any], objection: str) -> None:
    found = judge([node(operator, ["x"], ["y"], "pool", **settings)], opset=19)
    assert [severity for severity, _, _ in found] == ([FAULT] if objection else [])


def test_scattering_may_not_add() -> None:
    found = judge(
        [node("ScatterND", ["x", "at", "updates"], ["y"], "put", reduction="add")],
        constants={"at": np.array([[0]]), "updates": np.zeros((1, 4, 8, 8), np.float32)},
    )
    assert the_one(found) == (FAULT, "ScatterND put", "reduction is add, expected none")


@pytest.mark.parametrize(("k", "fits"), [(2, True), (3840, False)])
def test_top_k_is_limited(k: int, fits: bool) -> None:
    found = judge(
        [node("TopK", ["x", "k"], ["y", "at"], "top", axis=1)],
        [value("x", [1, 4000])],
        [value("y", [1, k])],
        {"k": np.array([k])},
    )
    assert [finding[0] for finding in found] == ([] if fits else [FAULT])


@pytest.mark.parametrize(("opset", "severity"), [(8, FAULT), (18, ""), (21, WARNING)])
def test_opsets(opset: int, severity: str) -> None:
    found = judge([node("Relu", ["x"], ["y"])], opset=opset)
    assert [finding[0] for finding in found] == ([severity] if severity else [])


# ---- precision


@pytest.mark.parametrize("operator", ["Softmax", "InstanceNormalization"])
def test_half_precision_needs_islands_of_float32(operator: str) -> None:
    def network(kind: int, dtype: type) -> list[tuple[str, str, str]]:
        more = ["scale", "bias"] if operator == "InstanceNormalization" else []
        return judge(
            [
                node("Cast", ["x"], ["half"], to=HALF),
                node("Cast", ["half"], ["inside"], to=kind),
                node(operator, ["inside", *more], ["made"], "norm"),
                node("Cast", ["made"], ["y"], to=FLOAT),
            ],
            constants={"scale": np.ones(4, dtype), "bias": np.zeros(4, dtype)} if more else None,
        )

    assert network(FLOAT, np.float32) == []
    severity, named, text = the_one(network(HALF, np.float16))
    assert (severity, named) == (WARNING, f"{operator} norm")
    assert "float16" in text


def quantised(zero: Any, kind: type, x: str = "x") -> list[onnx.NodeProto]:
    more = [] if zero is None else ["zero"]
    return [
        node("QuantizeLinear", [x, "scale", *more], ["q"], "quantise"),
        node("DequantizeLinear", ["q", "scale", *more], ["y"], "back"),
    ]


@pytest.mark.parametrize(
    ("zero", "text"),
    [
        (np.int8(0), ""),
        (np.int8(3), "has the zero point 3, expected 0"),
        (np.uint8(0), "quantises to uint8, which TensorRT takes for int8"),
    ],
)
def test_zero_points_are_0_and_signed(zero: Any, text: str) -> None:
    constants = {"scale": np.float32(0.1), "zero": zero}
    found = judge(quantised(zero, type(zero)), constants=constants)
    wanted = [
        (FAULT, f"{kind}", text) for kind in ("QuantizeLinear quantise", "DequantizeLinear back")
    ]
    assert found == (wanted if text else [])


def test_a_missing_zero_point_means_two_things() -> None:
    found = judge(quantised(None, np.int8), constants={"scale": np.float32(0.1)})
    assert found[0][:2] == (FAULT, "QuantizeLinear quantise")


def test_real_quantisation_for_each_target(tmp_path: Path) -> None:
    """What ONNX Runtime's own tool writes for the CPU, and symmetrically for TensorRT."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Frames(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.frames = iter([{"input": rng.random((1, 3, 32, 64), np.float32)}])

        def get_next(self) -> Any:
            return next(self.frames, None)

    source = write_network(tmp_path / "net.onnx")
    model = onnx.load(source)
    for axis, size in enumerate((1, 5, 16, 32)):
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = size
    onnx.save(model, source)
    found = {}
    for name, activation, options in (
        ("cpu", QuantType.QUInt8, {}),
        ("biases", QuantType.QInt8, {"ActivationSymmetric": True}),
        ("trt", QuantType.QInt8, {"ActivationSymmetric": True, "QuantizeBias": False}),
    ):
        quantize_static(
            source,
            tmp_path / f"{name}.onnx",
            Frames(),
            activation_type=activation,
            weight_type=QuantType.QInt8,
            per_channel=True,
            extra_options={"WeightSymmetric": True, **options},
        )
        made = onnx.load(tmp_path / f"{name}.onnx")
        found[name] = {t: {f.text for f in check_graph(made, t)} for t in CHECK_TARGETS}
    assert found["trt"][TRT] == set()
    assert found["biases"][TRT] == {"reads int32, expected int8"}
    assert "quantises to uint8, which TensorRT takes for int8" in found["cpu"][TRT]
    assert found["cpu"][CPU] == set()
    assert any("quantises activations to int8" in text for text in found["trt"][CPU])


def test_the_cpu_gains_nothing_from_half_precision_and_has_no_bfloat16() -> None:
    def network(kind: int) -> list[tuple[str, str, str]]:
        nodes = [
            node("Cast", ["x"], ["small"], to=kind),
            node("Relu", ["small"], ["made"], "relu"),
            node("Cast", ["made"], ["y"], to=FLOAT),
        ]
        return judge(nodes, target=CPU)

    assert the_one(network(HALF))[0] == WARNING
    assert {finding[0] for finding in network(TensorProto.BFLOAT16)} == {FAULT}


# ---- everywhere


@pytest.mark.parametrize("target", CHECK_TARGETS)
def test_open_dimensions_are_faults(target: str) -> None:
    found = judge(
        [node("Relu", ["x"], ["y"])],
        [value("x", [1, 4, "h", "w"])],
        [value("y", [1, 4, "h", "w"])],
        target=target,
    )
    assert [text for _, _, text in found] == [
        "input x is [1, 4, h, w], expected fixed dimensions",
        "output y is [1, 4, h, w], expected fixed dimensions",
    ]


@pytest.mark.parametrize("target", CHECK_TARGETS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_faults(target: str, bad: float) -> None:
    found = judge(
        [node("Mul", ["x", "w"], ["y"], "scale")],
        constants={"w": np.array([1, bad, 2, 3, 4, 5, 6, 7], np.float32)},
        target=target,
    )
    assert the_one(found) == (FAULT, "Mul scale", "weight w has 1 of 8 values not finite")


@pytest.mark.parametrize("target", CHECK_TARGETS)
def test_types_that_do_not_fit_are_faults(target: str) -> None:
    found = judge([node("Add", ["x", "w"], ["y"])], constants={"w": np.float16(1)}, target=target)
    assert any(text.startswith("not a valid graph") for _, _, text in found)


def test_a_graph_that_nothing_can_be_inferred_of_is_one_fault() -> None:
    found = judge([node("Strange", ["x"], ["y"], "s", domain="undeclared")], target=CPU)
    assert found[0][2].startswith("not a valid graph: ")


def test_noise_is_a_warning() -> None:
    found = judge(
        [
            node("RandomNormalLike", ["x"], ["noise"], "draw"),
            node("Add", ["x", "noise"], ["y"]),
        ]
    )
    assert the_one(found)[:2] == (WARNING, "RandomNormalLike draw")


def test_files_above_2_gb_are_faults_and_weights_beside_them_warnings() -> None:
    model = graph([node("Relu", ["x"], ["y"])], [value("x")], [value("y")])
    (large,) = check_graph(model, TRT, 2**31)
    assert large.severity == FAULT and "expected less than 2 GB" in large.text
    (beside,) = check_graph(model, TRT, 1000, 2**31)
    assert beside.severity == WARNING


# ---- the command


def test_check_prints_faults_per_stage_with_node_and_mend(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    observer = observer_graph(64, 128)
    for index, entry in enumerate(observer.graph.node):
        entry.name = f"n{index}"
        if entry.op_type == "AveragePool":
            entry.attribute.append(helper.make_attribute("dilations", [2, 2]))
            entry.attribute.append(helper.make_attribute("pads", [1, 1, 2, 2]))
    observer.opset_import[0].version = 19  # from here on AveragePool has dilations
    onnx.save(observer, tmp_path / "observer.onnx")
    onnx.save(segmentation_graph(64, 128), tmp_path / "segmentation.onnx")
    stages = ("segmentation", "observer")
    write_bundle(
        tmp_path / "bad",
        description=tiny_description(),
        stage_files={name: {"fp32": tmp_path / f"{name}.onnx"} for name in stages},
    )
    assert main(["bundle", "check", str(tmp_path / "bad"), "--target", "tensorrt"]) == 2
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("tensorrt: observer (observer.onnx, fp32 for any):")
    assert lines[start + 1] == (
        "  fault: AveragePool n3: dilations are [2, 2], expected all 1: change it at export"
    )
    assert lines[-1] == "faulty"


def test_check_names_nodes_with_the_same_trouble_in_one_line(
    tiny: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Finding(WARNING, f"Softmax s{i}", "computes in float16", "cast") for i in range(10)]
    monkeypatch.setitem(RULES, "tensorrt", (lambda view: iter(found),))
    assert main(["bundle", "check", str(tiny), "--target", "tensorrt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("  warning: Softmax s0, Softmax s1, ")
    assert lines[2].endswith("Softmax s7 and 2 more: computes in float16: cast")


def test_check_for_the_cpu_runs_a_frame_too(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "check", str(tiny), "--target", "onnxruntime-cpu"]) == 0
    shown = capsys.readouterr().out
    assert "onnxruntime-cpu: observer (observer.onnx, fp32 for any): fits" in shown
    assert "one frame ran on ONNX Runtime" in shown
    assert shown.endswith("sound\n")
