"""Make a bundle of a user's own segmentation network.

Needs the package `onnx`; call `onnx_package.need_onnx` first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from anomaly_seg_ros.backends.trial import try_bundle
from anomaly_seg_ros.bundle import BUNDLE_FILE, Bundle, write_bundle
from anomaly_seg_ros.bundle_parts import ClassSpec, TensorSpec
from anomaly_seg_ros.creation.card import CARD, may_be_written, model_card
from anomaly_seg_ros.creation.graph import build_graph
from anomaly_seg_ros.creation.network import Network, read_network, run_network
from anomaly_seg_ros.creation.options import Wishes
from anomaly_seg_ros.creation.outputs import (
    Chosen,
    check_logits,
    choose_outputs,
    wanted_tensors,
)
from anomaly_seg_ros.creation.parity import (
    expected,
    logits_of,
    measure,
    run_bundle,
    scene_images,
)
from anomaly_seg_ros.creation.scores import SCORES, check_score_name
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.yaml_reader import load_yaml

MAKER = "anomaly-seg bundle create"
STAGE = "segmentation"
FIRST_QUANTILE = 0.99  # of the score, for a threshold until a better one is chosen


@dataclass(frozen=True)
class Created:
    """A bundle, what it was made of, and what its maker should know."""

    bundle: Bundle
    network: Network
    chosen: Chosen
    opset: int  # of the bundle's graph
    parity: Mapping[str, float]
    notes: tuple[str, ...]


def create_bundle(
    model: Path, folder: Path, classes: Sequence[ClassSpec], wishes: Wishes
) -> Created:
    """Wrap a network into one graph from uint8 image to labels and score, and write the bundle.

    The graph normalises the image, holds the network and ends in logits, labels and the score rule,
    all in float32. It is run on two drawn road scenes and must equal the network's own file there:
    logits and score within 1e-3, labels on 99.9 % of the pixels. A bundle that this function made
    before is replaced; a model card that was added to is kept.
    Raises BundleError for everything about the network that does not fit, and BackendError.
    """
    check_score_name(wishes.score)
    _check_folder(folder)
    network = read_network(model, wishes.size, wishes.preprocessing)
    images = scene_images(network.size, wishes.fit)
    arrays = run_network(network, wanted_tensors(network, wishes), images)
    chosen = choose_outputs(network, arrays[0], len(classes), wishes)
    for frame in arrays:
        logits = logits_of(chosen, frame)
        if logits is not None:
            check_logits(network, chosen, logits, wishes.score)
    wanted = [expected(chosen, frame, wishes.score) for frame in arrays]
    _check_labels(network, wanted, len(classes))
    graph, specs = build_graph(network, chosen, arrays[0], wishes.score)
    description = _description(network, chosen, classes, wishes, specs, wanted)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / f"{STAGE}.onnx"
        onnx.save(graph, file)
        files = {STAGE: {"fp32": file}}
        draft = write_bundle(Path(name) / "draft", description=description, stage_files=files)
        faults = [fault for trial in try_bundle(draft) for fault in trial.faults]
        if faults:
            raise BundleError("the bundle does not run:\n" + "\n".join(f"  - {f}" for f in faults))
        parity = measure(wanted, run_bundle(draft, images))
        description["stages"][0]["files"] = [{"precision": "fp32", "for": "any", "parity": parity}]
        bundle = write_bundle(folder, description=description, stage_files=files)
    notes = _notes(wishes)
    if may_be_written(folder / CARD):
        (folder / CARD).write_text(model_card(bundle, network), encoding="utf-8")
    else:
        notes.append(f"{folder / CARD} has been added to and is kept: bring it up to date")
    opset = max(o.version for o in graph.opset_import if o.domain in ("", "ai.onnx"))
    return Created(bundle, network, chosen, opset, parity, tuple(notes))


def _check_folder(folder: Path) -> None:
    """Raise BundleError where something of another origin would be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file, expected a folder for the bundle")
    if (folder / BUNDLE_FILE).exists():
        document = load_yaml(folder / BUNDLE_FILE, []) or {}
        provenance = document.get("provenance")
        if not isinstance(provenance, Mapping) or provenance.get("made_by") != MAKER:
            raise BundleError(
                f"{folder} holds a bundle that `{MAKER}` did not make, and it is not overwritten: "
                "give another --out or remove it"
            )


def _check_labels(
    network: Network, wanted: Sequence[Mapping[str, np.ndarray]], classes: int
) -> None:
    largest = max(int(frame["labels"].max()) for frame in wanted)
    least = min(int(frame["labels"].min()) for frame in wanted)
    if least < 0 or largest >= classes:
        raise BundleError(
            f"{network.path.name} gives the class ids {least} to {largest}, and the class list has "
            f"0 to {classes - 1}: give the list the network was trained with"
        )


def _description(
    network: Network,
    chosen: Chosen,
    classes: Sequence[ClassSpec],
    wishes: Wishes,
    specs: Sequence[TensorSpec],
    wanted: Sequence[Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """The content of bundle.yaml, without parity."""
    rule = SCORES.get(wishes.score)
    scores = np.concatenate([frame["score"].ravel() for frame in wanted])
    low, high = _rounded(scores.min()), _rounded(scores.max())
    if rule is not None and rule.bounded:
        low, high = 0.0, 1.0
    point = {
        "threshold": wishes.threshold,
        "rule": "given when the bundle was made",
        "data": "not told",
    }
    if wishes.threshold is None:
        point = {
            "threshold": _rounded(np.quantile(scores, FIRST_QUANTILE)),
            "rule": f"{FIRST_QUANTILE:.0%} of the score is below: a first value, not a choice",
            "data": f"{len(wanted)} drawn road scenes without unknown objects",
        }
    points = {"default": {**point, "focus": "everywhere"}}
    if any(entry.drivable for entry in classes):
        points["road"] = {**point, "focus": "road"}
    preprocessing = network.preprocessing
    return {
        "format": 1,
        "name": wishes.name or network.path.stem,
        "method": wishes.score if rule else "score of the network itself",
        "paper": f"{rule.source}: {rule.formula}" if rule else f"none told ({wishes.score})",
        "source": f"{network.path.name}, by {MAKER}",
        "input": {"height": network.size[0], "width": network.size[1], "fit": wishes.fit},
        "classes": [
            {"id": c.id, "name": c.name, "color": list(c.color), "drivable": c.drivable}
            for c in classes
        ],
        "stages": [
            {
                "name": STAGE,
                "inputs": ["image"],
                "outputs": [
                    {"name": s.name, "dtype": s.dtype, "shape": list(s.shape)} for s in specs
                ],
            }
        ],
        "score": {"display": [low, high if high > low else low + 1.0]},
        "operating_points": points,
        "provenance": {
            "made_by": MAKER,
            "network": network.path.name,
            "network_sha256": network.sha256,
            "opset": network.opset,
            "tensors": {
                key: name
                for key, name in (
                    ("logits", chosen.logits),
                    ("labels", chosen.labels),
                    ("score", chosen.score),
                )
                if name is not None
            },
            "preprocessing": {
                "layout": preprocessing.layout,
                "channels": preprocessing.channels,
                "range": preprocessing.range,
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            },
            "data": [],
            "data_licences": [],
        },
    }


def _rounded(value: np.floating[Any] | float) -> float:
    return float(f"{float(value):.6g}")


def _notes(wishes: Wishes) -> list[str]:
    """What the maker of the bundle may have missed."""
    notes = []
    preprocessing = wishes.preprocessing
    if not any(preprocessing.mean) and set(preprocessing.std) == {1.0}:
        notes.append(
            "no --mean and --std: right for networks that normalise for themselves; most that were "
            "trained from ImageNet weights want --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
        )
    if wishes.threshold is None:
        notes.append(
            "the threshold is only a first value from drawn scenes: look at the scores of your own "
            "recordings (anomaly-seg detect, anomaly-seg evaluate) and give --threshold"
        )
    return notes
