"""Check a bundle as a whole: the chain of tensors, the files and the graphs in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from anomaly_seg_ros.bundle_parts import (
    IMAGE,
    SYNTHESIS,
    ClassSpec,
    ExternalFile,
    InputSpec,
    StageFile,
    StageSpec,
    TensorSpec,
)
from anomaly_seg_ros.bundle_yaml import Draft
from anomaly_seg_ros.onnx_file import GraphEnd, OnnxFormatError, OnnxModel, read_onnx

# What the names of the vocabulary promise: dtype and number of dimensions
VOCABULARY = {
    "logits": ("float32", 4),
    "labels": ("uint8", 3),
    "entropy": ("float32", 3),
    "margin": ("float32", 3),
    SYNTHESIS: ("float32", 4),
    "perceptual_difference": ("float32", 3),
    "score": ("float32", 3),
}
REQUIRED = ("labels", "score")
LISTED = 20  # file names in a message


def check_draft(folder: Path, draft: Draft, faults: list[str]) -> None:
    """Everything about a bundle that one value of its yaml alone does not tell."""
    if draft.classes is not None:
        _check_classes(draft.classes, faults)
    if draft.stages is not None:
        _check_chain(draft.stages, faults)
        _check_channels(draft.stages, SYNTHESIS, 3, "the 3 channels of an RGB image", faults)
        if draft.classes is not None:
            count = len(draft.classes)
            each = f"one channel for each of the {count} classes"
            _check_channels(draft.stages, "logits", count, each, faults)
    graphs: dict[Path, OnnxModel] = {}
    for where, file in draft.files:
        _check_file(folder, where, file, graphs, faults)
    if draft.stages is not None:
        _check_graphs(draft.input, draft.stages, graphs, faults)


def _check_classes(classes: Sequence[ClassSpec], faults: list[str]) -> None:
    _unique((str(c.id) for c in classes), "classes: id", "give each class its own", faults)
    _unique((c.name for c in classes), "classes: name", "give each class its own", faults)


def _check_chain(stages: Sequence[StageSpec], faults: list[str]) -> None:
    """Names that must be unique, tensors made before they are used, and the vocabulary."""
    _unique((s.name for s in stages), "stages: name", "rename one", faults)
    made: dict[str, str] = {IMAGE: "the camera"}  # tensor -> who makes it
    outputs = [spec.name for stage in stages for spec in stage.outputs]
    for stage in stages:
        _unique(stage.inputs, f"stages[{stage.name}].inputs: tensor", "list it once", faults)
        for name in stage.inputs:
            if name not in made:
                late = "is made only later" if name in outputs else "is made by no stage"
                faults.append(
                    f"stages[{stage.name}].inputs: {name} {late}; made before this stage: "
                    f"{', '.join(made)}: reorder the stages or add the one that makes it"
                )
        for spec in stage.outputs:
            if spec.name in made:
                faults.append(
                    f"stages[{stage.name}].outputs: {spec.name} is already made by "
                    f"{made[spec.name]}; a tensor has one maker: rename one"
                )
            made.setdefault(spec.name, f"stage {stage.name}")
            dtype, rank = VOCABULARY.get(spec.name, (spec.dtype, len(spec.shape)))
            if (spec.dtype, len(spec.shape)) != (dtype, rank):
                faults.append(
                    f"stages[{stage.name}].outputs: found {spec}, expected {spec.name} to be "
                    f"{dtype} with {rank} dimensions"
                )
        pairs = (f"{file.precision} for {file.target}" for file in stage.files)
        _unique(pairs, f"stages[{stage.name}].files: precision", "keep one of them", faults)
    for name in REQUIRED:
        if name not in outputs:
            faults.append(
                f"stages: no stage makes {name}; found {', '.join(outputs)}: every bundle "
                f"makes {' and '.join(REQUIRED)}"
            )


def _check_channels(
    stages: Sequence[StageSpec], tensor: str, count: int, expected: str, faults: list[str]
) -> None:
    for stage in stages:
        for spec in stage.outputs:
            if spec.name == tensor and len(spec.shape) == 4 and spec.shape[1] != count:
                faults.append(f"stages[{stage.name}].outputs: found {spec}, expected {expected}")


def _check_graphs(
    image: InputSpec | None,
    stages: Sequence[StageSpec],
    graphs: Mapping[Path, OnnxModel],
    faults: list[str],
) -> None:
    """Names, dtypes and shapes of every graph that could be read against the yaml."""
    tensors = {} if image is None else {IMAGE: image.image}
    for stage in stages:
        for file in stage.files:
            graph = graphs.get(file.path)
            if graph is None:
                continue
            what = f"stages[{stage.name}] {file.path.name}"
            known = [tensors[name] for name in stage.inputs if name in tensors]
            if len(known) == len(stage.inputs):  # else the chain is broken, which is said already
                faults.extend(compare_ends(what, "inputs", known, graph.inputs))
            faults.extend(compare_ends(what, "outputs", stage.outputs, graph.outputs))
        tensors.update({spec.name: spec for spec in stage.outputs})


def compare_ends(
    what: str, side: str, expected: Sequence[TensorSpec], found: Sequence[GraphEnd]
) -> list[str]:
    """Faults where a graph's inputs or outputs differ from the yaml; both sides are printed.

    `what` names stage and file, `side` is "inputs" or "outputs". Order does not matter: tensors
    go by name.
    """
    by_name = {end.name: end for end in found}
    faults = []
    for spec in expected:
        end = by_name.pop(spec.name, None)
        if end is None:
            there = ", ".join(str(e) for e in found) or "nothing"
            faults.append(f"{what}: {side} of the graph: found {there}, expected {spec} among them")
        elif (end.dtype, end.shape) != (spec.dtype, spec.shape):
            faults.append(f"{what}: {side} of the graph: found {end}, expected {spec}")
    for end in by_name.values():
        names = ", ".join(spec.name for spec in expected)
        faults.append(f"{what}: {side} of the graph: found {end}, expected only {names}")
    return faults


def _check_file(
    folder: Path, where: str, file: StageFile, graphs: dict[Path, OnnxModel], faults: list[str]
) -> None:
    """File and side files inside the folder and unchanged; what the graph says goes to `graphs`."""
    for side in file.external:
        _is_sound(folder, where, side, faults)
    if not _is_sound(folder, where, file, faults):
        return
    try:
        graph = graphs[file.path] = read_onnx(file.path.read_bytes())
    except OnnxFormatError as error:
        faults.append(
            f"{where}: {file.path.name} is no ONNX model ({error}): export the stage again"
        )
        return
    listed = {side.path.resolve() for side in file.external}
    for location in graph.external:
        path = file.path.parent / location
        if not location or not _inside(folder, path):
            faults.append(
                f"{where}: {file.path.name} keeps weights in {location!r}, outside the bundle's "
                "folder: export it as a single file"
            )
        elif path.resolve() not in listed:
            faults.append(
                f"{where}: {file.path.name} keeps weights in {location!r}, which has no hash here: "
                "list it under `external` of this file, or export the graph as a single file"
            )


def _is_sound(folder: Path, where: str, file: StageFile | ExternalFile, faults: list[str]) -> bool:
    """Whether a file lies in the folder with the right hash; else a fault is noted."""
    name = os.path.relpath(file.path, folder)
    if not _inside(folder, file.path):
        faults.append(
            f"{where}: {name} leads out of the bundle's folder: copy the file into the folder and "
            "name it relative to it"
        )
        return False
    if not file.path.is_file():
        there = sorted(path.name for path in folder.iterdir())
        more = f" and {len(there) - LISTED} more" if len(there) > LISTED else ""
        faults.append(
            f"{where}: {name} is missing; the folder holds {', '.join(there[:LISTED])}{more}"
        )
        return False
    digest = hashlib.sha256()
    try:
        with file.path.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        faults.append(f"{where}: {name} cannot be read ({error.strerror})")
        return False
    if digest.hexdigest() != file.sha256:
        faults.append(
            f"{where}: {name} has sha256 {digest.hexdigest()}, expected {file.sha256}: the file "
            "was changed or not copied whole; copy it again or export the bundle again"
        )
        return False
    return True


def _unique(names: Iterable[str], what: str, mend: str, faults: list[str]) -> None:
    seen: set[str] = set()
    told: set[str] = set()
    for name in names:
        if name in seen and name not in told:
            faults.append(f"{what} {name} stands there twice: {mend}")
            told.add(name)
        seen.add(name)


def _inside(folder: Path, path: Path) -> bool:
    """Whether a path stays in the folder, symbolic links followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a loop of links, a null byte
        return False
