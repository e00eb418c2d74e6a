"""Score rules over logits: as nodes of a graph, and as numpy to compare with.

All are computed in float32, higher = more anomalous, with the formulas of training/baselines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from anomaly_seg_ros.errors import BundleError

OUTPUT = "output:"  # prefix of a score that the network computes itself
LEAST_LOG = -200.0  # exp of it is 0 in float32, and 0 * LEAST_LOG is 0 where 0 * -inf is NaN
PREFIX = "score/"  # of the nodes and tensors that a rule adds

Constants = dict[str, np.ndarray]


@dataclass(frozen=True)
class ScoreRule:
    """How logits [1, C, h, w] become a score [1, h, w]."""

    source: str  # paper
    formula: str
    bounded: bool  # in 0..1
    nodes: Callable[[int], tuple[list[NodeProto], Constants]]  # of C: "logits" -> "score"
    compute: Callable[[np.ndarray], np.ndarray]  # float32 [1, C, h, w] -> [1, h, w]


def _node(operator: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    """A node over tensors of the rule: `logits` and `score` keep their names."""
    names = [_name(name) for name in (*inputs.split(), output)]
    made = helper.make_node(operator, names[:-1], names[-1:], **attributes)
    made.name = f"{PREFIX}{output}/{operator}"
    return made


def _name(name: str) -> str:
    return name if name in ("logits", "score") else PREFIX + name


def _constants(**values: Any) -> Constants:
    return {PREFIX + name: np.asarray(value) for name, value in values.items()}


CLASS_AXIS = np.array([1], np.int64)


def _max_logit(classes: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        _node("ReduceMax", "logits axis", "largest", keepdims=0),
        _node("Neg", "largest", "score"),
    ]
    return nodes, _constants(axis=CLASS_AXIS)


def _sum_of_exponentials() -> list[NodeProto]:
    """`sum` [1, h, w] of exp(logits - `largest` [1, 1, h, w]).

    A Softmax over an inner axis is slow in ONNX Runtime, which transposes for it; ReduceLogSumExp
    overflows above 88 where a runtime does not shift by the maximum first.
    """
    return [
        _node("ReduceMax", "logits axis", "largest", keepdims=1),
        _node("Sub", "logits largest", "shifted"),
        _node("Exp", "shifted", "exponentials"),
        _node("ReduceSum", "exponentials axis", "sum", keepdims=0),
    ]


def _max_softmax(classes: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        *_sum_of_exponentials(),
        _node("Reciprocal", "sum", "surest"),
        _node("Sub", "one surest", "score"),
    ]
    return nodes, _constants(axis=CLASS_AXIS, one=np.float32(1))


def _entropy(classes: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        _node("LogSoftmax", "logits", "log", axis=1),
        _node("Max", "log least", "finite"),
        _node("Exp", "finite", "probabilities"),
        _node("Mul", "probabilities finite", "terms"),
        _node("ReduceSum", "terms axis", "sum", keepdims=0),
        _node("Mul", "sum scale", "score"),
    ]
    scale = np.float32(-1 / math.log(classes))
    return nodes, _constants(axis=CLASS_AXIS, least=np.float32(LEAST_LOG), scale=scale)


def _energy(classes: int) -> tuple[list[NodeProto], Constants]:
    nodes = [
        *_sum_of_exponentials(),
        _node("Log", "sum", "log"),
        _node("Squeeze", "largest axis", "shift"),
        _node("Add", "log shift", "free"),
        _node("Neg", "free", "score"),
    ]
    return nodes, _constants(axis=CLASS_AXIS)


def _margin(classes: int) -> tuple[list[NodeProto], Constants]:
    top = helper.make_node(
        "TopK",
        [PREFIX + "probabilities", PREFIX + "two"],
        [PREFIX + "largest", PREFIX + "ids"],
        name=PREFIX + "largest/TopK",
        axis=1,
    )
    nodes = [
        _node("Softmax", "logits", "probabilities", axis=1),
        top,
        _node("Mul", "largest signs", "signed"),
        _node("ReduceSum", "signed axis", "difference", keepdims=0),
        _node("Sub", "one difference", "score"),
    ]
    signs = np.array([1, -1], np.float32).reshape(1, 2, 1, 1)
    two = np.array([2], np.int64)
    return nodes, _constants(axis=CLASS_AXIS, one=np.float32(1), signs=signs, two=two)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Over axis 1, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def _entropy_of(logits: np.ndarray) -> np.ndarray:
    log = log_softmax(logits)
    return -(np.exp(log) * log).sum(axis=1) / math.log(logits.shape[1])


def _margin_of(logits: np.ndarray) -> np.ndarray:
    ordered = np.sort(np.exp(log_softmax(logits)), axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def _energy_of(logits: np.ndarray) -> np.ndarray:
    # log_softmax = logit - ln sum exp, for every class
    return (log_softmax(logits) - logits)[:, 0]


SCORES = {
    "max_logit": ScoreRule(
        "Hendrycks et al., Scaling Out-of-Distribution Detection, ICML 2022",
        "minus the largest logit",
        False,
        _max_logit,
        lambda logits: -logits.max(axis=1),
    ),
    "max_softmax": ScoreRule(
        "Hendrycks and Gimpel, ICLR 2017",
        "1 - the largest class probability",
        True,
        _max_softmax,
        lambda logits: 1 - np.exp(log_softmax(logits)).max(axis=1),
    ),
    "entropy": ScoreRule(
        "softmax entropy, Hendrycks and Gimpel, ICLR 2017 (baseline)",
        "-sum p ln p / ln C",
        True,
        _entropy,
        _entropy_of,
    ),
    "energy": ScoreRule(
        "Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020",
        "-ln sum exp(logit)",
        False,
        _energy,
        _energy_of,
    ),
    "margin": ScoreRule(
        "Di Biase et al., Pixel-wise Anomaly Detection, CVPR 2021 (softmax distance)",
        "1 - (p1 - p2), the two largest class probabilities",
        True,
        _margin,
        _margin_of,
    ),
}


def check_score_name(score: str) -> None:
    """Raise BundleError unless it is a rule or names an output."""
    if score not in SCORES and not (score.startswith(OUTPUT) and score != OUTPUT):
        raise BundleError(
            f"unknown score {score!r}; expected {', '.join(SCORES)}, or {OUTPUT}NAME for an output "
            "of the network"
        )
