"""A real two-stage bundle of a few kilobytes whose results can be worked out by hand.

Stage `segmentation`: average the image over 4x4 pixels, then give each class the closeness of
that colour to the class's own colour. Paint a region in `CLASS_COLORS[i]` and its label is `i`.
Stage `observer`: score = 1 where the averaged colour is ANOMALY_COLOR (cyan, which no class is
near), falling to 0 at a distance of SCORE_RADIUS in 0..255 RGB space.

    CLASS_COLORS[0] road, [1] sidewalk, ... the 19 Cityscapes classes; `drivable`: road.
    operating points: default (threshold 0.5), strict (0.9), road (0.5, focus road),
    large (0.5, regions of 12 cells of the stride-4 grid or more).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from anomaly_seg_ros.bundle import write_bundle

STRIDE = 4
ANOMALY_COLOR = (0, 255, 255)
SCORE_RADIUS = 100.0
CLASS_NAMES = [
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic_light",
    "traffic_sign",
    "vegetation",
    "terrain",
    "sky",
    "person",
    "rider",
    "car",
    "truck",
    "bus",
    "train",
    "motorcycle",
    "bicycle",
]
CLASS_COLORS = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (102, 102, 156),
    (190, 153, 153),
    (153, 153, 153),
    (250, 170, 30),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (255, 0, 0),
    (0, 0, 142),
    (0, 0, 70),
    (0, 60, 100),
    (0, 80, 100),
    (0, 0, 230),
    (119, 11, 32),
)
OPSET, IR_VERSION = 18, 10


def write_tiny_bundle(
    folder: Path, *, height: int = 64, width: int = 128, fit: str = "squash", classes: int = 19
) -> Path:
    """Write the tiny bundle into `folder` (made if absent) and return the folder."""
    if height % STRIDE or width % STRIDE:
        raise ValueError(f"{height}x{width}: both must be multiples of {STRIDE}")
    with tempfile.TemporaryDirectory() as name:
        paths = {stage: Path(name) / f"{stage}.onnx" for stage in ("segmentation", "observer")}
        onnx.save(segmentation_graph(height, width, classes), paths["segmentation"])
        onnx.save(observer_graph(height, width), paths["observer"])
        write_bundle(
            folder,
            description=tiny_description(height=height, width=width, fit=fit, classes=classes),
            stage_files={stage: {"fp32": path} for stage, path in paths.items()},
        )
    return folder


def tiny_description(
    *, height: int = 64, width: int = 128, fit: str = "squash", classes: int = 19
) -> dict[str, Any]:
    """The content of bundle.yaml, without the files of the stages."""
    grid = [height // STRIDE, width // STRIDE]
    return {
        "format": 1,
        "name": "tiny",
        "method": "colour_distance",
        "paper": "none: made for tests",
        "source": "test/tiny_bundle.py",
        "input": {"height": height, "width": width, "fit": fit},
        "classes": [
            {"id": i, "name": CLASS_NAMES[i], "color": list(CLASS_COLORS[i]), "drivable": i == 0}
            for i in range(classes)
        ],
        "stages": [
            {
                "name": "segmentation",
                "inputs": ["image"],
                "outputs": [
                    {"name": "logits", "dtype": "float32", "shape": [1, classes, *grid]},
                    {"name": "labels", "dtype": "uint8", "shape": [1, *grid]},
                    {"name": "features_4", "dtype": "float32", "shape": [1, 3, *grid]},
                ],
            },
            {
                "name": "observer",
                "inputs": ["image", "features_4"],
                "outputs": [{"name": "score", "dtype": "float32", "shape": [1, *grid]}],
            },
        ],
        "score": {"display": [0.0, 1.0], "reference_quantiles": [0.0, 0.0, 0.1]},
        "operating_points": {
            "default": {"threshold": 0.5, "rule": "half way", "data": "none"},
            "strict": {"threshold": 0.9, "rule": "nearly sure", "data": "none"},
            "road": {"threshold": 0.5, "rule": "half way", "data": "none", "focus": "road"},
            "large": {"threshold": 0.5, "rule": "half way", "data": "none", "min_region": 12},
        },
        "provenance": {"commit": "none", "data": [], "data_licences": [], "seed": 0, "metrics": {}},
    }


def segmentation_graph(height: int, width: int, classes: int = 19) -> onnx.ModelProto:
    """image uint8 [1, H, W, 3] -> logits, labels, features_4 at stride 4."""
    grid = [height // STRIDE, width // STRIDE]
    colors = np.array(CLASS_COLORS[:classes], np.float32) / 255
    # -|x - c|^2 = 2 c.x - |c|^2 - |x|^2, and |x|^2 is the same for every class
    weight = (2 * colors)[:, :, None, None]
    bias = -(colors**2).sum(axis=1)
    nodes = [
        *_pooled_colors("features_4"),
        helper.make_node("Conv", ["features_4", "weight", "bias"], ["logits"]),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
    ]
    return _model(
        nodes,
        [_tensor("image", "uint8", [1, height, width, 3])],
        [
            _tensor("logits", "float32", [1, classes, *grid]),
            _tensor("labels", "uint8", [1, *grid]),
            _tensor("features_4", "float32", [1, 3, *grid]),
        ],
        {"scale": np.float32(1 / 255), "weight": weight, "bias": bias},
    )


def observer_graph(height: int, width: int) -> onnx.ModelProto:
    """image uint8 [1, H, W, 3], features_4 -> score float32 [1, H/4, W/4] in 0..1."""
    grid = [height // STRIDE, width // STRIDE]
    target = np.array(ANOMALY_COLOR, np.float32).reshape(1, 3, 1, 1) / 255
    nodes = [
        *_pooled_colors("pooled"),
        helper.make_node("Add", ["pooled", "features_4"], ["twice"]),
        helper.make_node("Mul", ["twice", "half"], ["color"]),
        helper.make_node("Sub", ["color", "target"], ["difference"]),
        helper.make_node("ReduceSumSquare", ["difference", "axes"], ["squares"], keepdims=0),
        helper.make_node("Sqrt", ["squares"], ["distance"]),
        helper.make_node("Div", ["distance", "radius"], ["far"]),
        helper.make_node("Sub", ["one", "far"], ["near"]),
        helper.make_node("Clip", ["near", "zero", "one"], ["score"]),
    ]
    return _model(
        nodes,
        [
            _tensor("image", "uint8", [1, height, width, 3]),
            _tensor("features_4", "float32", [1, 3, *grid]),
        ],
        [_tensor("score", "float32", [1, *grid])],
        {
            "scale": np.float32(1 / 255),
            "half": np.float32(0.5),
            "target": target,
            "axes": np.array([1], np.int64),
            "radius": np.float32(SCORE_RADIUS / 255),
            "zero": np.float32(0),
            "one": np.float32(1),
        },
    )


def _pooled_colors(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["unit"]),
        helper.make_node(
            "AveragePool", ["unit"], [name], kernel_shape=[STRIDE] * 2, strides=[STRIDE] * 2
        ),
    ]


def _tensor(name: str, dtype: str, shape: list[int]) -> onnx.ValueInfoProto:
    kinds = {"uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
    return helper.make_tensor_value_info(name, kinds[dtype], shape)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, Any],
) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, tensors),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    print(write_tiny_bundle(Path(sys.argv[1])))
