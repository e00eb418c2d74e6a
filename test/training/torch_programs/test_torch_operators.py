"""Every ONNX operator that is translated gives in torch what it gives in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from training.torch_programs.graph_module import GraphModule
from training.torch_programs.nodes import UnsupportedGraph

RNG = np.random.default_rng(3)
IMAGE = RNG.standard_normal((1, 4, 6, 10)).astype(np.float32)
SQUARE = RNG.standard_normal((1, 4, 8, 8)).astype(np.float32)
WEIGHT = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
FOUR = RNG.uniform(0.5, 2, 4).astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


# operator, first input, constant inputs (None: empty slot), attributes
CASES: dict[str, tuple[str, np.ndarray, list[Any], dict[str, Any]]] = {
    "conv": ("Conv", IMAGE, [WEIGHT, floats(*range(6))], {"pads": [1, 1, 1, 1]}),
    "conv with uneven pads": (
        "Conv",
        IMAGE,
        [WEIGHT],
        {"pads": [0, 1, 2, 0], "strides": [2, 1], "dilations": [1, 2]},
    ),
    "conv by groups": (
        "Conv",
        IMAGE,
        [np.ascontiguousarray(WEIGHT[:4, :1])],
        {"group": 4, "pads": [1] * 4},
    ),
    "transposed conv": (
        "ConvTranspose",
        IMAGE,
        [np.ascontiguousarray(WEIGHT.swapaxes(0, 1)), floats(*range(6))],
        {"strides": [2, 2], "pads": [1] * 4, "output_padding": [1, 1]},
    ),
    "gemm": (
        "Gemm",
        IMAGE[0, 0],
        [IMAGE[0, 1, :5], floats(*range(5))],
        {"transB": 1, "alpha": 0.5, "beta": 2.0},
    ),
    "matrix product": ("MatMul", IMAGE, [IMAGE[0, 0].T.copy()], {}),
    "max pool": (
        "MaxPool",
        IMAGE,
        [],
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
    ),
    "max pool with uneven pads": (
        "MaxPool",
        -np.abs(IMAGE),
        [],
        {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]},
    ),
    "mean pool": ("AveragePool", IMAGE, [], {"kernel_shape": [3, 3], "pads": [1] * 4}),
    "mean pool over pads": (
        "AveragePool",
        IMAGE,
        [],
        {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
    ),
    "global mean": ("GlobalAveragePool", IMAGE, [], {}),
    "bilinear": ("Resize", IMAGE, [None, None, ints(1, 4, 9, 25)], {"mode": "linear"}),
    "bilinear by scales": (
        "Resize",
        IMAGE,
        [None, floats(1, 1, 0.5, 2)],
        {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    ),
    "bilinear between corners": (
        "Resize",
        IMAGE,
        [None, None, ints(1, 4, 12, 20)],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    "nearest": (
        "Resize",
        IMAGE,
        [None, floats(1, 1, 2, 2)],
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    ),
    "zero padding": ("Pad", IMAGE, [ints(0, 0, 1, 2, 0, 0, 0, 3), floats(0.5)[0]], {}),
    "reflection": (
        "Pad",
        IMAGE,
        [ints(1, 2, 2, 1), None, ints(2, 3)],
        {"mode": "reflect"},
    ),
    "slice": ("Slice", IMAGE, [ints(-5, 1), ints(2**31, 9), ints(2, 3), ints(2, 3)], {}),
    "one of an axis": ("Gather", IMAGE, [np.array(-1)], {"axis": 1}),
    "some of an axis": ("Gather", IMAGE, [ints(3, 0, 0)], {"axis": 1}),
    "mean over an axis": ("ReduceMean", IMAGE, [ints(2, 3)], {"keepdims": 0}),
    "sum": ("ReduceSum", IMAGE, [ints(1)], {}),
    "sum of squares": ("ReduceSumSquare", IMAGE, [ints(-1)], {}),
    "length": ("ReduceL2", IMAGE, [ints(1)], {}),
    "largest": ("ReduceMax", IMAGE, [], {}),
    "no axes mean none": ("ReduceMin", IMAGE, [ints()], {"noop_with_empty_axes": 1}),
    "place of the largest": ("ArgMax", IMAGE, [], {"axis": 1, "keepdims": 0}),
    "clip": ("Clip", IMAGE, [floats(-0.5)[0], floats(0.25)[0]], {}),
    "clip from above": ("Clip", IMAGE, [None, floats(0.25)[0]], {}),
    "depth to space by rows": ("DepthToSpace", IMAGE, [], {"blocksize": 2, "mode": "CRD"}),
    "depth to space by depth": ("DepthToSpace", IMAGE, [], {"blocksize": 2}),
    "reshape": ("Reshape", IMAGE, [ints(0, 2, -1, 10)], {}),
    "squeeze": ("Squeeze", IMAGE, [ints(0)], {}),
    "unsqueeze": ("Unsqueeze", IMAGE, [ints(0, -1)], {}),
    "flatten": ("Flatten", IMAGE, [], {"axis": 2}),
    "expand": ("Expand", IMAGE, [ints(3, 1, 6, 10)], {}),
    "transpose": ("Transpose", IMAGE, [], {"perm": [0, 2, 3, 1]}),
    "concatenation": ("Concat", IMAGE, [IMAGE], {"axis": 1}),
    "softmax": ("Softmax", IMAGE, [], {"axis": 1}),
    "norm of instances": ("InstanceNormalization", SQUARE, [FOUR, FOUR], {"epsilon": 1e-3}),
    "norm of batches": ("BatchNormalization", SQUARE, [FOUR] * 4, {"epsilon": 1e-3}),
    "leaky": ("LeakyRelu", IMAGE, [], {"alpha": 0.2}),
    "selu": ("Selu", IMAGE, [], {}),
    "elu": ("Elu", IMAGE, [], {"alpha": 0.7}),
    "prelu": ("PRelu", IMAGE, [FOUR.reshape(4, 1, 1)], {}),
    "hard sigmoid": ("HardSigmoid", IMAGE, [], {"alpha": 0.3}),
    "sum of two": ("Add", IMAGE, [FOUR.reshape(4, 1, 1)], {}),
    "quotient": ("Div", IMAGE, [floats(3.0)[0]], {}),
    "quotient of whole numbers": ("Div", np.array([-7, 7], np.int64), [np.array(2)], {}),
    "power": ("Pow", np.abs(IMAGE), [floats(2.0)[0]], {}),
    "larger": ("Max", IMAGE, [-IMAGE, floats(0.1)[0]], {}),
    "not smaller": ("GreaterOrEqual", IMAGE, [np.zeros_like(IMAGE)], {}),
    "to bytes": ("Cast", np.abs(IMAGE) * 50, [], {"to": TensorProto.UINT8}),
    "choice": ("Where", IMAGE > 0, [IMAGE, floats(0.0)[0]], {}),
    **{
        name: (name, np.abs(IMAGE) + 0.1, [], {})
        for name in (
            "Abs",
            "Erf",
            "Exp",
            "HardSwish",
            "Log",
            "Neg",
            "Reciprocal",
            "Relu",
            "Sigmoid",
            "Sqrt",
            "Tanh",
        )
    },
}


def one_node(
    op: str, first: np.ndarray, constants: list[Any], attributes: dict[str, Any], outputs: int = 1
) -> onnx.ModelProto:
    names = ["x", *("" if value is None else f"c{i}" for i, value in enumerate(constants))]
    made = [f"y{i}" for i in range(outputs)]
    kept = [
        numpy_helper.from_array(np.asarray(value), f"c{i}")
        for i, value in enumerate(constants)
        if value is not None
    ]
    kind = helper.np_dtype_to_tensor_dtype(first.dtype)
    graph = helper.make_graph(
        [helper.make_node(op, names, made, **attributes)],
        "one",
        [helper.make_tensor_value_info("x", kind, first.shape)],
        [onnx.ValueInfoProto(name=name) for name in made],
        kept,
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def translated(model: onnx.ModelProto, folder: Path) -> GraphModule:
    onnx.save(model, folder / "graph.onnx")
    outputs = [SimpleNamespace(name=output.name) for output in model.graph.output]
    inputs = tuple(end.name for end in model.graph.input)
    return GraphModule(SimpleNamespace(inputs=inputs, outputs=outputs), folder / "graph.onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_operator_gives_what_onnx_runtime_gives(
    case: tuple[str, np.ndarray, list[Any], dict[str, Any]], tmp_path: Path
) -> None:
    op, first, constants, attributes = case
    model = one_node(op, first, constants, attributes)
    [expected] = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": first})
    [found] = translated(model, tmp_path)(torch.from_numpy(first.copy()))
    assert found.numpy().dtype == expected.dtype and tuple(found.shape) == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_split_gives_its_parts(tmp_path: Path) -> None:
    model = one_node("Split", IMAGE, [ints(1, 3)], {"axis": 1}, outputs=2)
    first, second = translated(model, tmp_path)(torch.from_numpy(IMAGE))
    np.testing.assert_array_equal(first, IMAGE[:, :1])
    np.testing.assert_array_equal(second, IMAGE[:, 1:])


def test_what_depends_on_constants_alone_is_computed_once(tmp_path: Path) -> None:
    half = numpy_helper.from_array(WEIGHT.astype(np.float16), "half")
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["half"], ["weight"], to=TensorProto.FLOAT),
            helper.make_node("Conv", ["x", "weight"], ["y"]),
        ],
        "folded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 4, 8])],
        [half],
    )
    opset = [helper.make_opsetid("", 18)]
    module = translated(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path)
    assert [node.op for node in module.nodes] == ["Conv"]
    assert [buffer.dtype for buffer in module.buffers()] == [torch.float32]


@pytest.mark.parametrize(
    ("op", "constants", "attributes", "message"),
    [
        ("TopK", [ints(2)], {}, "operators TopK, which have no counterpart"),
        ("MaxPool", [], {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}, "auto_pad is 'SAME_U"),
        ("ArgMax", [], {"select_last_index": 1}, "select_last_index is 1, expected 0"),
        ("Resize", [None, floats(1, 1, 1.1, 1)], {"mode": "linear"}, "give no whole size"),
        ("Slice", [ints(5), ints(0), ints(2), ints(-1)], {}, "turns an axis round"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_mend(
    op: str, constants: list[Any], attributes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = one_node(op, IMAGE, constants, attributes, outputs=2 if op == "TopK" else 1)
    with pytest.raises(UnsupportedGraph, match=message) as caught:
        translated(model, tmp_path)(torch.from_numpy(IMAGE))
    assert "run the bundle on onnxruntime or tensorrt" in str(caught.value)
