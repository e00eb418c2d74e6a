"""ONNX operators, default domain, opset 13 to 22, in torch: those that our graphs are made of.

Each takes the node and its inputs (None for an empty slot) and returns its output or outputs.
Sources: the ONNX operator specification. Shapes are static, so sizes and axes are constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional

from training.torch_programs.nodes import DTYPES, Inputs, Node
from training.torch_programs.windows import (
    average_pool,
    convolution,
    max_pool,
    pad,
    resize,
    transposed,
)

Operator = Callable[[Node, Inputs], Any]


def _gemm(node: Node, inputs: Inputs) -> Tensor:
    left, right, added = (*inputs, None)[:3]
    left = left.T if node.get("transA", 0) else left
    right = right.T if node.get("transB", 0) else right
    product = node.get("alpha", 1.0) * (left @ right)
    return product if added is None else product + node.get("beta", 1.0) * added


def _slice(node: Node, inputs: Inputs) -> Tensor:
    values = inputs[0]
    starts, ends, axes, steps = (node.wholes(slot) for slot in (1, 2, 3, 4))
    assert starts is not None and ends is not None  # the operator demands them
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if min(steps) < 1:
        raise node.refused(f"steps {steps}: it turns an axis round")
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = values.shape[axis]
        place = [slice(None)] * values.ndim
        place[axis] = slice(*slice(start, end, step).indices(size))
        values = values[tuple(place)]
    return values


def _gather(node: Node, inputs: Inputs) -> Tensor:
    values, indices = inputs[0], inputs[1]
    axis = node.get("axis", 0) % values.ndim
    if node.inputs[1] in node.constants and indices.ndim == 0:
        return values.select(axis, int(node.constants[node.inputs[1]]))
    place = (*[slice(None)] * axis, indices.long())
    return values[place]


def _reduction(call: Callable[..., Tensor]) -> Operator:
    def reduce(node: Node, inputs: Inputs) -> Tensor:
        axes = node.wholes(1, "axes")
        if not axes:
            if node.get("noop_with_empty_axes", 0):
                return inputs[0]
            axes = list(range(inputs[0].ndim))
        return call(inputs[0], dim=axes, keepdim=bool(node.get("keepdims", 1)))

    return reduce


def _argmax(node: Node, inputs: Inputs) -> Tensor:
    node.demand("select_last_index", 0)
    return inputs[0].argmax(node.get("axis", 0), keepdim=bool(node.get("keepdims", 1)))


def _clip(node: Node, inputs: Inputs) -> Tensor:
    values, low, high = (*inputs, None, None)[:3]
    known = all(not name or name in node.constants for name in node.inputs[1:3])
    if not known:
        return values.clamp(low, high)
    ends = (node.constant(slot) for slot in (1, 2))
    low, high = (None if end is None else float(end) for end in ends)
    return values if low is None and high is None else values.clamp(low, high)


def _depth_to_space(node: Node, inputs: Inputs) -> Tensor:
    values, block = inputs[0], node.get("blocksize", 1)
    if node.get("mode", "DCR") == "CRD":
        return functional.pixel_shuffle(values, block)
    count, depth, height, width = values.shape
    parts = values.reshape(count, block, block, depth // block**2, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(count, -1, height * block, width * block)


def _reshape(node: Node, inputs: Inputs) -> Tensor:
    shape = node.wholes(1)
    assert shape is not None  # the operator demands it
    if not node.get("allowzero", 0):
        shape = [inputs[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return inputs[0].reshape(shape)


def _squeeze(node: Node, inputs: Inputs) -> Tensor:
    axes = node.wholes(1, "axes")
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueeze(node: Node, inputs: Inputs) -> Tensor:
    axes = node.wholes(1, "axes") or []
    values, rank = inputs[0], inputs[0].ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        values = values.unsqueeze(axis)
    return values


def _flatten(node: Node, inputs: Inputs) -> Tensor:
    axis = node.get("axis", 1) % (inputs[0].ndim + 1)
    return inputs[0].reshape(math.prod(inputs[0].shape[:axis]), -1)


def _expand(node: Node, inputs: Inputs) -> Tensor:
    shape = node.wholes(1) or []
    return inputs[0].expand(torch.broadcast_shapes(inputs[0].shape, shape))


def _split(node: Node, inputs: Inputs) -> tuple[Tensor, ...]:
    axis, parts = node.get("axis", 0), node.wholes(1, "split")
    size = inputs[0].shape[axis]
    if parts is None:
        part = -(-size // len(node.outputs))
        parts = [part] * (len(node.outputs) - 1)
        parts.append(size - sum(parts))
    return tuple(inputs[0].split(parts, axis))


def _constant(node: Node, inputs: Inputs) -> Tensor:
    [(kind, value)] = node.attributes.items()
    if kind == "value":
        return torch.from_numpy(numpy_helper.to_array(value).copy())
    if kind in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if kind in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    raise node.refused(f"a constant of the kind {kind}")


def _constant_of_shape(node: Node, inputs: Inputs) -> Tensor:
    value = node.get("value", None)
    shape = node.wholes(0) or []
    if value is None:
        return torch.zeros(shape)
    return torch.full(shape, numpy_helper.to_array(value).item(), dtype=DTYPES[value.data_type])


def _cast(node: Node, inputs: Inputs) -> Tensor:
    if node.get("to", 0) not in DTYPES:
        raise node.refused(f"to the ONNX type {node.get('to', 0)}")
    return inputs[0].to(DTYPES[node.get("to", 0)])


def _divide(node: Node, inputs: Inputs) -> Tensor:
    if inputs[0].is_floating_point():
        return inputs[0] / inputs[1]
    return torch.div(inputs[0], inputs[1], rounding_mode="trunc")


def _batch_norm(node: Node, inputs: Inputs) -> Tensor:
    node.demand("training_mode", 0)
    values, scale, shift, mean, variance = inputs
    epsilon = node.get("epsilon", 1e-5)
    return functional.batch_norm(values, mean, variance, scale, shift, eps=epsilon)


def _instance_norm(node: Node, inputs: Inputs) -> Tensor:
    values, scale, shift = inputs
    return functional.instance_norm(values, weight=scale, bias=shift, eps=node.get("epsilon", 1e-5))


def _selu(node: Node, inputs: Inputs) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632), node.get("gamma", 1.0507010)
    return gamma * functional.elu(inputs[0], alpha)


def _of_one(call: Callable[..., Tensor]) -> Operator:
    return lambda node, inputs: call(inputs[0])


def _of_two(call: Callable[..., Tensor]) -> Operator:
    return lambda node, inputs: call(inputs[0], inputs[1])


def _of_many(call: Callable[..., Tensor]) -> Operator:
    def apply(node: Node, inputs: Inputs) -> Tensor:
        result = inputs[0]
        for other in inputs[1:]:
            result = call(result, other)
        return result

    return apply


def _sum_of_squares(values: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return values.square().sum(dim=dim, keepdim=keepdim)


def _norm(values: Tensor, dim: list[int], keepdim: bool) -> Tensor:
    return _sum_of_squares(values, dim, keepdim).sqrt()


OPERATORS: dict[str, Operator] = {
    "Abs": _of_one(torch.abs),
    "Add": _of_two(torch.add),
    "And": _of_two(torch.logical_and),
    "ArgMax": _argmax,
    "AveragePool": average_pool,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda node, inputs: torch.cat(list(inputs), node.get("axis", 0)),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": convolution,
    "ConvTranspose": transposed,
    "DepthToSpace": _depth_to_space,
    "Div": _divide,
    "Elu": lambda node, inputs: functional.elu(inputs[0], node.get("alpha", 1.0)),
    "Equal": _of_two(torch.eq),
    "Erf": _of_one(torch.erf),
    "Exp": _of_one(torch.exp),
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node, inputs: inputs[0].mean(dim=(2, 3), keepdim=True),
    "Greater": _of_two(torch.gt),
    "GreaterOrEqual": _of_two(torch.ge),
    "HardSigmoid": lambda node, inputs: (
        node.get("alpha", 0.2) * inputs[0] + node.get("beta", 0.5)
    ).clamp(0, 1),
    "HardSwish": _of_one(functional.hardswish),
    "Identity": _of_one(lambda values: values),
    "InstanceNormalization": _instance_norm,
    "LeakyRelu": lambda node, inputs: functional.leaky_relu(inputs[0], node.get("alpha", 0.01)),
    "Less": _of_two(torch.lt),
    "LessOrEqual": _of_two(torch.le),
    "Log": _of_one(torch.log),
    "MatMul": _of_two(torch.matmul),
    "Max": _of_many(torch.maximum),
    "MaxPool": max_pool,
    "Min": _of_many(torch.minimum),
    "Mul": _of_two(torch.mul),
    "Neg": _of_one(torch.neg),
    "Not": _of_one(torch.logical_not),
    "Or": _of_two(torch.logical_or),
    "Pad": pad,
    "Pow": _of_two(torch.pow),
    "PRelu": lambda node, inputs: torch.where(inputs[0] < 0, inputs[1] * inputs[0], inputs[0]),
    "Reciprocal": _of_one(torch.reciprocal),
    "ReduceL2": _reduction(_norm),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(_sum_of_squares),
    "Relu": _of_one(torch.relu),
    "Reshape": _reshape,
    "Resize": resize,
    "Selu": _selu,
    "Sigmoid": _of_one(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda node, inputs: inputs[0].softmax(node.get("axis", -1)),
    "Split": _split,
    "Sqrt": _of_one(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _of_two(torch.sub),
    "Tanh": _of_one(torch.tanh),
    "Transpose": lambda node, inputs: inputs[0].permute(
        node.get("perm", list(reversed(range(inputs[0].ndim))))
    ),
    "Unsqueeze": _unsqueeze,
    "Where": lambda node, inputs: torch.where(*inputs),
}
