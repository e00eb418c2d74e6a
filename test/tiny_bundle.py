"""Real bundles of a few kilobytes whose results can be worked out by hand.

`write_tiny_bundle` writes one of two stages.

Stage `segmentation`: average the image over 4x4 pixels, then give each class the closeness of
that colour to the class's own colour. Paint a region in `CLASS_COLORS[i]` and its label is `i`.
Stage `observer`: score = 1 where the averaged colour is ANOMALY_COLOR (cyan, which no class is
near), falling to 0 at a distance of SCORE_RADIUS in 0..255 RGB space.

    CLASS_COLORS[0] road, [1] sidewalk, ... the 19 Cityscapes classes; `drivable`: road.
    operating points: default (threshold 0.5), strict (0.9), road (0.5, focus road),
    large (0.5, regions of 12 cells of the stride-4 grid or more).

`write_resynthesis_bundle` writes one of three stages, with the same classes and operating points:
`segmentation` as above, `resynthesis` paints every label in its class's colour at stride 2, and
`dissimilarity` takes the distance between image and synthesis, averaged over 4x4 pixels:
perceptual_difference in units of 255, score the same rising from 0 to 1 at SCORE_RADIUS. On painted
classes both are 0; cyan is taken for sky, whose colour is further away than SCORE_RADIUS.
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
SYNTHESIS_STRIDE = 2
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
    """Write the bundle of two stages into `folder` (made if absent) and return the folder."""
    if height % STRIDE or width % STRIDE:
        raise ValueError(f"{height}x{width}: both must be multiples of {STRIDE}")
    return _write(
        folder,
        tiny_description(height=height, width=width, fit=fit, classes=classes),
        {
            "segmentation": segmentation_graph(height, width, classes),
            "observer": observer_graph(height, width),
        },
    )


def write_resynthesis_bundle(
    folder: Path, *, height: int = 64, width: int = 128, fit: str = "squash"
) -> Path:
    """Write the bundle of three stages into `folder` (made if absent) and return the folder."""
    return _write(
        folder,
        resynthesis_description(height=height, width=width, fit=fit),
        {
            "segmentation": segmentation_graph(height, width),
            "resynthesis": resynthesis_graph(height, width),
            "dissimilarity": dissimilarity_graph(height, width),
        },
    )


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


def resynthesis_description(
    *, height: int = 64, width: int = 128, fit: str = "squash"
) -> dict[str, Any]:
    """bundle.yaml of the three stages, without their files."""
    tiny = tiny_description(height=height, width=width, fit=fit)
    grid = [1, height // STRIDE, width // STRIDE]
    painted = [1, 3, height // SYNTHESIS_STRIDE, width // SYNTHESIS_STRIDE]
    return tiny | {
        "name": "tiny_resynthesis",
        "method": "colour_resynthesis",
        "stages": [
            tiny["stages"][0],
            {
                "name": "resynthesis",
                "inputs": ["labels"],
                "outputs": [{"name": "synthesis", "dtype": "float32", "shape": painted}],
            },
            {
                "name": "dissimilarity",
                "inputs": ["image", "synthesis"],
                "outputs": [
                    {"name": "perceptual_difference", "dtype": "float32", "shape": grid},
                    {"name": "score", "dtype": "float32", "shape": grid},
                ],
            },
        ],
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
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["numbers"], ["labels"], to=TensorProto.UINT8),
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


def resynthesis_graph(height: int, width: int) -> onnx.ModelProto:
    """labels uint8 [1, H/4, W/4] -> synthesis float32 [1, 3, H/2, W/2] in 0..1."""
    size = [height // SYNTHESIS_STRIDE, width // SYNTHESIS_STRIDE]
    enlarged = STRIDE // SYNTHESIS_STRIDE
    nodes = [
        helper.make_node("Cast", ["labels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["numbers"], ["ids"], to=TensorProto.INT64),
        helper.make_node("Gather", ["colors", "ids"], ["painted"], axis=0),
        helper.make_node("Transpose", ["painted"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "Resize",
            ["planes", "", "scales"],
            ["synthesis"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
    ]
    return _model(
        nodes,
        [_tensor("labels", "uint8", [1, height // STRIDE, width // STRIDE])],
        [_tensor("synthesis", "float32", [1, 3, *size])],
        {
            "colors": np.array(CLASS_COLORS, np.float32) / 255,
            "scales": np.array([1, 1, enlarged, enlarged], np.float32),
        },
    )


def dissimilarity_graph(height: int, width: int) -> onnx.ModelProto:
    """image, synthesis -> perceptual_difference, score float32 [1, H/4, W/4]."""
    grid = [height // STRIDE, width // STRIDE]
    pool = STRIDE // SYNTHESIS_STRIDE
    nodes = [
        *_pooled_colors("seen"),
        helper.make_node(
            "AveragePool", ["synthesis"], ["made"], kernel_shape=[pool] * 2, strides=[pool] * 2
        ),
        helper.make_node("Sub", ["seen", "made"], ["difference"]),
        helper.make_node("ReduceSumSquare", ["difference", "axes"], ["squares"], keepdims=0),
        helper.make_node("Sqrt", ["squares"], ["perceptual_difference"]),
        helper.make_node("Div", ["perceptual_difference", "radius"], ["far"]),
        helper.make_node("Clip", ["far", "zero", "one"], ["score"]),
    ]
    return _model(
        nodes,
        [
            _tensor("image", "uint8", [1, height, width, 3]),
            _tensor(
                "synthesis",
                "float32",
                [1, 3, height // SYNTHESIS_STRIDE, width // SYNTHESIS_STRIDE],
            ),
        ],
        [
            _tensor("perceptual_difference", "float32", [1, *grid]),
            _tensor("score", "float32", [1, *grid]),
        ],
        {
            "scale": np.float32(1 / 255),
            "axes": np.array([1], np.int64),
            "radius": np.float32(SCORE_RADIUS / 255),
            "zero": np.float32(0),
            "one": np.float32(1),
        },
    )


def _write(folder: Path, description: dict[str, Any], graphs: dict[str, onnx.ModelProto]) -> Path:
    """One fp32 graph for each stage, in a bundle."""
    with tempfile.TemporaryDirectory() as name:
        paths = {stage: Path(name) / f"{stage}.onnx" for stage in graphs}
        for stage, graph in graphs.items():
            onnx.save(graph, paths[stage])
        write_bundle(
            folder,
            description=description,
            stage_files={stage: {"fp32": path} for stage, path in paths.items()},
        )
    return folder


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
