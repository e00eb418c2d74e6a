"""Which tensor of a user's network holds the class scores, the class ids, the anomaly score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from anomaly_seg_ros.creation.network import FLOAT32_MEND, Network, described
from anomaly_seg_ros.creation.options import Wishes
from anomaly_seg_ros.creation.scores import OUTPUT, log_softmax
from anomaly_seg_ros.errors import BundleError

Arrays = Mapping[str, np.ndarray]
SUM_TOLERANCE = 1e-3  # of probabilities over the classes, which may have been resized


@dataclass(frozen=True)
class Chosen:
    """Tensors of the network by name. There are logits or labels, and a score if no rule makes it.

    class_axis: where the classes stand in the logits, 1 or 3.
    """

    logits: str | None
    labels: str | None  # whole numbers
    score: str | None
    class_axis: int = 1


def wanted_tensors(network: Network, wishes: Wishes) -> tuple[str, ...]:
    """All outputs and the named inner tensors. Raises BundleError for a name that is neither."""
    score = wishes.score.removeprefix(OUTPUT) if wishes.score.startswith(OUTPUT) else None
    names = dict.fromkeys(network.outputs)
    for option, name in (("--logits ", wishes.logits), (f"--score {OUTPUT}", score)):
        if name is None:
            continue
        if name not in network.outputs and name not in network.tensors:
            raise BundleError(
                f"{option}{name}: {network.path.name} has no such output; it has "
                f"{', '.join(network.outputs)} (names of inner tensors are taken too)"
            )
        names[name] = None
    return tuple(names)


def choose_outputs(network: Network, arrays: Arrays, classes: int, wishes: Wishes) -> Chosen:
    """Pick the tensors. arrays: what `run_network` gave for `wanted_tensors`.

    Raises BundleError where nothing fits, where several do, and where only class ids are left.
    """
    file = network.path.name
    score = wishes.score.removeprefix(OUTPUT) if wishes.score.startswith(OUTPUT) else None
    if score is not None and (arrays[score].dtype != np.float32 or not _is_map(arrays[score])):
        raise BundleError(
            f"the score is to be {described({score: arrays[score]})}; expected float32 [1, h, w] "
            "or with one channel"
        )
    if wishes.logits is not None:
        offered = {wishes.logits: arrays[wishes.logits]}
    else:
        offered = {name: arrays[name] for name in network.outputs if name != score}
    layout = network.preprocessing.layout
    axes = {name: axis for name, a in offered.items() if (axis := _class_axis(a, classes, layout))}
    ids = [name for name, a in offered.items() if np.issubdtype(a.dtype, np.integer) and _is_map(a)]
    if len(axes) > 1:
        raise BundleError(
            f"{file} has {len(axes)} outputs that may hold the {classes} class scores: "
            f"{described({name: offered[name] for name in axes})}: name one with --logits"
        )
    if axes:
        ((name, axis),) = axes.items()
        return Chosen(name, None, score, axis)
    if score is not None and len(ids) == 1:
        return Chosen(None, ids[0], score)
    if score is not None and len(ids) > 1:
        raise BundleError(
            f"{file} has {len(ids)} outputs that may hold the class ids: "
            f"{described({name: offered[name] for name in ids})}: name one with --logits"
        )
    if ids:
        raise BundleError(_labels_only(network, ids[0], wishes.score))
    raise BundleError(_nothing_fits(file, offered, classes))


def check_logits(network: Network, chosen: Chosen, logits: np.ndarray, score: str) -> None:
    """Raise BundleError where the values are no class scores, or none for this score rule.

    logits: float32 [1, C, h, w].
    """
    name, file = chosen.logits or "", network.path.name
    if not np.isfinite(logits).all():
        raise BundleError(
            f"{name} of {file} has values that are not finite on a road scene: check --mean, --std "
            "and --range, and the weights"
        )
    if logits.min() >= 0 and np.abs(logits.sum(axis=1) - 1).max() < SUM_TOLERANCE:
        before = _source(network.model, name, "Softmax", ("Identity", "Resize", "Transpose"))
        mend = f"--logits {before}" if before else "--logits NAME"
        raise BundleError(
            f"{name} of {file} holds probabilities (0 to 1, their sum 1), and a bundle's logits "
            f"are class scores before the Softmax: name the tensor that goes into it: {mend}"
        )
    if score == "energy" and np.abs(log_softmax(logits) - logits).max() < SUM_TOLERANCE:
        raise BundleError(
            f"{name} of {file} holds logarithms of probabilities, whose energy is 0 everywhere: "
            "name the tensor before the LogSoftmax with --logits, or take max_softmax"
        )


def _class_axis(array: np.ndarray, classes: int, layout: str) -> int:
    """1 or 3 where the classes stand; 0 where the array holds no class scores."""
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[0] != 1 or classes < 2:
        return 0
    axes = [axis for axis in (1, 3) if array.shape[axis] == classes]
    if len(axes) == 2:
        return 1 if layout == "nchw" else 3
    return axes[0] if axes else 0


def _is_map(array: np.ndarray) -> bool:
    """[1, h, w], or with one channel."""
    return array.shape[:1] == (1,) and (
        array.ndim == 3 or (array.ndim == 4 and 1 in (array.shape[1], array.shape[3]))
    )


def _labels_only(network: Network, name: str, score: str) -> str:
    skipped = ("Cast", "Squeeze", "Unsqueeze", "Identity", "Reshape")
    before = _source(network.model, name, "ArgMax", skipped)
    mend = f"name the class scores before the ArgMax: --logits {before}; or " if before else ""
    return (
        f"{network.path.name} gives class ids only ({name}), and the score {score} starts from "
        f"class scores: {mend}take a score that the network computes: --score {OUTPUT}NAME"
    )


def _nothing_fits(file: str, offered: Arrays, classes: int) -> str:
    text = (
        f"{file} has no output of {classes} class scores, float32 [1, {classes}, h, w] or "
        f"[1, h, w, {classes}]; found {described(offered)}"
    )
    counts = {size for a in offered.values() if a.ndim == 4 for size in (a.shape[1], a.shape[3])}
    if any(a.dtype == np.float16 for a in offered.values()):
        return f"{text}: {FLOAT32_MEND}"
    if any(a.shape[:1] != (1,) for a in offered.values()):
        return f"{text}: export with a batch of one"
    if counts:
        return (
            f"{text}: give the class list the network was trained with, or name the tensor with "
            "--logits"
        )
    return f"{text}: name the tensor with --logits"


def _source(model: onnx.ModelProto, name: str, operator: str, skipped: Sequence[str]) -> str | None:
    """What the operator reads that the tensor comes from, over nodes that change no value."""
    makers = {output: node for node in model.graph.node for output in node.output}
    while (node := makers.get(name)) is not None:
        if node.op_type == operator:
            return node.input[0]
        if node.op_type not in skipped:
            return None
        name = node.input[0]
    return None
