"""Check a bundle as a whole: the chain of tensors, the files and the graphs in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from anomaly_seg_ros.bundle_parts import (
    IMAGE,
    Description,
    ExternalFile,
    StageFile,
    StageSpec,
    TensorSpec,
)
from anomaly_seg_ros.onnx_file import GraphEnd, OnnxFormatError, read_onnx

# What the names of the vocabulary promise: dtype and number of dimensions
VOCABULARY = {
    "logits": ("float32", 4),
    "labels": ("uint8", 3),
    "entropy": ("float32", 3),
    "margin": ("float32", 3),
    "synthesis": ("float32", 4),
    "perceptual_difference": ("float32", 3),
    "score": ("float32", 3),
}
REQUIRED = ("labels", "score")


def check_pipeline(description: Description, faults: list[str]) -> None:
    """Names that must be unique, tensors made before they are used, and the vocabulary."""
    classes = description.classes
    _unique((str(c.id) for c in classes), "classes: id", "give each class its own", faults)
    _unique((c.name for c in classes), "classes: name", "give each class its own", faults)
    _unique((s.name for s in description.stages), "stages: name", "rename one", faults)
    made: dict[str, str] = {IMAGE: "the camera"}  # tensor -> who makes it
    all_outputs = [spec.name for stage in description.stages for spec in stage.outputs]
    for stage in description.stages:
        _unique(stage.inputs, f"stages[{stage.name}].inputs: tensor", "list it once", faults)
        for name in stage.inputs:
            if name not in made:
                late = "is made only later" if name in all_outputs else "is made by no stage"
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
            _check_vocabulary(stage, spec, len(classes), faults)
        pairs = (f"{file.precision} for {file.target}" for file in stage.files)
        _unique(pairs, f"stages[{stage.name}].files: precision", "keep one of them", faults)
    for name in REQUIRED:
        if name not in all_outputs:
            faults.append(
                f"stages: no stage makes {name}; found {', '.join(all_outputs)}: every bundle "
                f"makes {' and '.join(REQUIRED)}"
            )


def check_files(folder: Path, description: Description, faults: list[str]) -> None:
    """Every file inside the folder, with the right hash, and every graph as the yaml says."""
    tensors = {IMAGE: description.input.image}
    for stage in description.stages:
        for file in stage.files:
            data = _checked_bytes(folder, file, f"stages[{stage.name}].files", faults)
            if data is not None:
                _check_graph(folder, stage, file, data, tensors, faults)
            for side in file.external:
                _checked_bytes(folder, side, f"stages[{stage.name}].files.external", faults)
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


def _check_graph(
    folder: Path,
    stage: StageSpec,
    file: StageFile,
    data: bytes,
    tensors: dict[str, TensorSpec],
    faults: list[str],
) -> None:
    what = f"stages[{stage.name}] {_relative(folder, file.path)}"
    try:
        graph = read_onnx(data)
    except OnnxFormatError as error:
        faults.append(f"{what}: not an ONNX model: {error}: export the stage again")
        return
    known = [tensors[name] for name in stage.inputs if name in tensors]
    if len(known) == len(stage.inputs):  # otherwise the chain is broken, which is said already
        faults.extend(compare_ends(what, "inputs", known, graph.inputs))
    faults.extend(compare_ends(what, "outputs", stage.outputs, graph.outputs))
    listed = {side.path.resolve() for side in file.external}
    for location in graph.external:
        path = file.path.parent / location
        if not location or not _inside(folder, path):
            faults.append(
                f"{what}: the graph keeps weights in {location!r}, outside the bundle's folder: "
                "export it as a single file"
            )
        elif path.resolve() not in listed:
            faults.append(
                f"{what}: the graph keeps weights in {location!r}, which has no hash here: list "
                "it under `external` of this file, or export the graph as a single file"
            )


def _checked_bytes(
    folder: Path, file: StageFile | ExternalFile, where: str, faults: list[str]
) -> bytes | None:
    """The file's content, or None with a fault when it is outside, absent or another file."""
    name = _relative(folder, file.path)
    if not _inside(folder, file.path):
        faults.append(
            f"{where}: {name} leads out of the bundle's folder (to {file.path.resolve()}): copy "
            "the file into the folder and name it relative to it"
        )
        return None
    if not file.path.is_file():
        there = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        faults.append(f"{where}: {name} is missing; the folder holds {there}")
        return None
    try:
        data = file.path.read_bytes()
    except OSError as error:
        faults.append(f"{where}: {name} cannot be read ({error.strerror})")
        return None
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        faults.append(
            f"{where}: {name} has sha256 {digest}, expected {file.sha256}: the file was changed "
            "or not copied whole; copy it again or export the bundle again"
        )
        return None
    return data


def _check_vocabulary(
    stage: StageSpec, spec: TensorSpec, class_count: int, faults: list[str]
) -> None:
    where = f"stages[{stage.name}].outputs"
    if spec.name in VOCABULARY:
        dtype, rank = VOCABULARY[spec.name]
        if spec.dtype != dtype or len(spec.shape) != rank:
            faults.append(
                f"{where}: found {spec}, expected {spec.name} to be {dtype} with {rank} dimensions"
            )
            return
    if spec.name == "logits" and spec.shape[1] != class_count:
        faults.append(
            f"{where}: found {spec}, expected one channel for each of the {class_count} classes"
        )


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


def _relative(folder: Path, path: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
