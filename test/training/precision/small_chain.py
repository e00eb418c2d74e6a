"""A bundle of several convolutions in a row, whose labels are colours, as in tiny_bundle.

Stage `segmentation`: 4x4 means of the colours and their complements, three convolutions that hand
them on, logits. Stage `observer`: score = 1 - largest softmax; it has no convolution.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import CLASS_COLORS, STRIDE, tiny_description

from anomaly_seg_ros.bundle import Bundle, write_bundle

HEIGHT, WIDTH, CLASSES = 64, 128, 19
SHARPNESS = 40.0  # of the softmax
GRID = [HEIGHT // STRIDE, WIDTH // STRIDE]


def write_small_chain(folder: Path, *, gain: float = 1.0, uneven: float = 1.0) -> Bundle:
    """gain: what the middle convolutions multiply by; large ones leave the range of fp16.
    uneven: what one channel between `mix` and `spread` is larger by; int8 then loses the others.
    """
    folder.mkdir(parents=True)
    description = tiny_description(height=HEIGHT, width=WIDTH)
    segmentation, observer = description["stages"]
    segmentation["outputs"] = segmentation["outputs"][:2]
    observer["inputs"] = ["logits"]
    files = {}
    graphs = {"segmentation": segmentation_graph(gain, uneven), "observer": observer_graph()}
    for name, model in graphs.items():
        path = folder / f"{name}.onnx"
        onnx.save(model, path)
        files[name] = {"fp32": path}
    return write_bundle(folder / "bundle", description=description, stage_files=files)


def segmentation_graph(gain: float = 1.0, uneven: float = 1.0) -> onnx.ModelProto:
    """image -> logits [1, 19, H/4, W/4], labels."""
    mean = np.zeros((6, 3, STRIDE, STRIDE), np.float32)
    for channel in range(3):
        mean[channel, channel] = 1 / STRIDE**2
        mean[3 + channel, channel] = -1 / STRIDE**2
    colors = np.array(CLASS_COLORS, np.float32) / 255
    head = np.concatenate([SHARPNESS * 2 * colors, np.zeros_like(colors)], axis=1) / gain**2
    mixed = gain * np.eye(6, dtype=np.float32)[:, :, None, None]
    spread = np.zeros((6, 1, 3, 3), np.float32)
    spread[:, 0, 1, 1] = 1
    raised = mixed.copy()
    raised[5] *= uneven
    spread[5] /= uneven
    nodes = [
        helper.make_node("Transpose", ["image"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["levels", "scale"], ["colors"]),
        _convolution("first", "colors", "means", strides=[STRIDE, STRIDE]),
        helper.make_node("Relu", ["means"], ["positive"], name="positive"),
        _convolution("mix", "positive", "mixed"),
        helper.make_node("Relu", ["mixed"], ["mixed_positive"], name="mixed_positive"),
        _convolution("spread", "mixed_positive", "wide", group=6, pads=[1, 1, 1, 1]),
        _convolution("mix_again", "wide", "mixed_again"),
        _convolution("head", "mixed_again", "logits"),
        helper.make_node("ArgMax", ["logits"], ["ids"], axis=1, keepdims=0),
        helper.make_node("Cast", ["ids"], ["labels"], to=TensorProto.UINT8),
    ]
    return _model(
        nodes,
        [("image", TensorProto.UINT8, [1, HEIGHT, WIDTH, 3])],
        [
            ("logits", TensorProto.FLOAT, [1, CLASSES, *GRID]),
            ("labels", TensorProto.UINT8, [1, *GRID]),
        ],
        {
            "scale": np.float32(1 / 255),
            "first_weight": mean,
            "first_bias": np.array([0, 0, 0, 1, 1, 1], np.float32),
            "mix_weight": raised,
            "mix_bias": np.zeros(6, np.float32),
            "spread_weight": spread,
            "spread_bias": np.zeros(6, np.float32),
            "mix_again_weight": mixed,
            "mix_again_bias": np.zeros(6, np.float32),
            "head_weight": head[:, :, None, None].astype(np.float32),
            "head_bias": -SHARPNESS * (colors**2).sum(axis=1),
        },
    )


def observer_graph() -> onnx.ModelProto:
    """logits -> score [1, H/4, W/4]."""
    nodes = [
        helper.make_node("Softmax", ["logits"], ["shares"], name="softmax", axis=1),
        helper.make_node("ReduceMax", ["shares", "axes"], ["peak"], name="peak", keepdims=0),
        helper.make_node("Sub", ["one", "peak"], ["score"], name="score"),
    ]
    return _model(
        nodes,
        [("logits", TensorProto.FLOAT, [1, CLASSES, *GRID])],
        [("score", TensorProto.FLOAT, [1, *GRID])],
        {"axes": np.array([1], np.int64), "one": np.float32(1)},
    )


def _convolution(name: str, source: str, target: str, **attributes: object) -> onnx.NodeProto:
    inputs = [source, f"{name}_weight", f"{name}_bias"]
    return helper.make_node("Conv", inputs, [target], name=name, **attributes)


def _model(nodes, inputs, outputs, constants) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(*end) for end in inputs],
        [helper.make_tensor_value_info(*end) for end in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)
