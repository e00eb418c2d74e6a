"""ONNX operators that look at windows of an image: convolution, pooling, padding, resizing.

Called as those of `operators`, by the same rules.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from training.torch_programs.nodes import Inputs, Node

CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d}
TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d}
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}
HALF_PIXEL = ("half_pixel", "pytorch_half_pixel")


def _pads(node: Node, rank: int) -> tuple[list[int], list[int]]:
    """Begins and ends of the spatial axes."""
    node.demand("auto_pad", "NOTSET", "VALID")
    pads = list(node.get("pads", [0] * (2 * rank)))
    return pads[:rank], pads[rank:]


def _padded(node: Node, values: Tensor, fill: float) -> tuple[Tensor, list[int]]:
    """What torch can pad itself is left to it; other values are padded here."""
    begins, ends = _pads(node, values.ndim - 2)
    if begins == ends:
        return values, begins
    order = [side for pair in zip(reversed(begins), reversed(ends), strict=True) for side in pair]
    return functional.pad(values, order, value=fill), [0] * len(begins)


def convolution(node: Node, inputs: Inputs) -> Tensor:
    values, weight, bias = (*inputs, None)[:3]
    values, padding = _padded(node, values, 0.0)
    ones = [1] * (weight.ndim - 2)
    return CONVOLUTIONS[weight.ndim](
        values,
        weight,
        bias,
        node.get("strides", ones),
        padding,
        node.get("dilations", ones),
        node.get("group", 1),
    )


def transposed(node: Node, inputs: Inputs) -> Tensor:
    values, weight, bias = (*inputs, None)[:3]
    if "output_shape" in node.attributes:
        raise node.refused("output_shape is given; expected pads and output_padding")
    begins, ends = _pads(node, weight.ndim - 2)
    if begins != ends:
        raise node.refused(f"pads {begins} and {ends} differ")
    ones = [1] * (weight.ndim - 2)
    return TRANSPOSED[weight.ndim](
        values,
        weight,
        bias,
        node.get("strides", ones),
        begins,
        node.get("output_padding", [0] * len(ones)),
        node.get("group", 1),
        node.get("dilations", ones),
    )


def max_pool(node: Node, inputs: Inputs) -> Tensor:
    if len(node.outputs) > 1 and node.outputs[1]:
        raise node.refused("it hands out indices")
    values, padding = _padded(node, inputs[0], -math.inf)
    kernel = node.get("kernel_shape", [])
    return functional.max_pool2d(
        values,
        kernel,
        node.get("strides", [1] * len(kernel)),
        padding,
        node.get("dilations", [1] * len(kernel)),
        bool(node.get("ceil_mode", 0)),
    )


def average_pool(node: Node, inputs: Inputs) -> Tensor:
    node.demand("dilations", [1, 1])
    begins, ends = _pads(node, 2)
    if begins != ends:
        raise node.refused(f"pads {begins} and {ends} differ")
    kernel = node.get("kernel_shape", [])
    return functional.avg_pool2d(
        inputs[0],
        kernel,
        node.get("strides", [1] * len(kernel)),
        begins,
        bool(node.get("ceil_mode", 0)),
        bool(node.get("count_include_pad", 0)),
    )


def resize(node: Node, inputs: Inputs) -> Tensor:
    values = inputs[0]
    node.demand("antialias", 0)
    node.demand("exclude_outside", 0)
    sizes, scales = node.wholes(3), node.constant(2)
    if sizes is None:
        if scales is None:
            raise node.refused("it has neither sizes nor scales")
        exact = [n * float(s) for n, s in zip(values.shape, scales, strict=True)]
        sizes = [round(size) for size in exact]
        if any(abs(a - b) > 1e-3 for a, b in zip(exact, sizes, strict=True)):
            raise node.refused(f"scales {scales} give no whole size")
    if sizes[:2] != list(values.shape[:2]) or values.ndim != 4:
        raise node.refused(f"{list(values.shape)} to {sizes}: it resizes more than rows, columns")
    mode, way = (
        node.get("mode", "nearest"),
        node.get("coordinate_transformation_mode", "half_pixel"),
    )
    if mode == "nearest":
        rounding = node.get("nearest_mode", "round_prefer_floor")
        if (way, rounding) == ("asymmetric", "floor"):
            return functional.interpolate(values, sizes[2:], mode="nearest")
        if way in HALF_PIXEL:
            return functional.interpolate(values, sizes[2:], mode="nearest-exact")
        raise node.refused(f"nearest by {way} and {rounding}")
    if way not in (*HALF_PIXEL, "align_corners"):
        raise node.refused(f"{mode} by {way}")
    node.demand("cubic_coeff_a", -0.75)
    return functional.interpolate(
        values,
        sizes[2:],
        mode={"linear": "bilinear", "cubic": "bicubic"}[mode],
        align_corners=way == "align_corners",
    )


def pad(node: Node, inputs: Inputs) -> Tensor:
    values, pads, axes = inputs[0], node.wholes(1), node.wholes(3)
    fill = node.constant(2)
    axes = list(range(values.ndim)) if axes is None else [axis % values.ndim for axis in axes]
    assert pads is not None  # the operator demands them
    sides = {axis: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    first = min((axis for axis, side in sides.items() if side != (0, 0)), default=values.ndim)
    order = [n for axis in reversed(range(first, values.ndim)) for n in sides.get(axis, (0, 0))]
    if not order:
        return values
    mode = PAD_MODES.get(node.get("mode", "constant"))
    if mode is None:
        raise node.refused(f"mode {node.get('mode', '')}")
    if mode != "constant":
        return functional.pad(values, order, mode=mode)
    return functional.pad(values, order, value=0.0 if fill is None else float(fill))
