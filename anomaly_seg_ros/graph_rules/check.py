"""Can a backend run these graphs? Rules over the ONNX files, where the backend is not at hand.

Needs the package `onnx`; call `onnx_package.need_onnx` first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx
from onnx.external_data_helper import load_external_data_for_model

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import PRECISIONS, StageFile, StageSpec
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.graph_rules import onnxruntime, tensorrt
from anomaly_seg_ros.graph_rules.common import FILE_LIMIT
from anomaly_seg_ros.graph_rules.view import FAULT, WARNING, Finding, GraphView, view_graph

__all__ = ["FAULT", "RULES", "WARNING", "Finding", "GraphReport", "check_bundle", "check_graph"]

Rule = Callable[[GraphView], Iterator[Finding]]
RULES: dict[str, tuple[Rule, ...]] = {
    "tensorrt": tensorrt.RULES,
    "onnxruntime-cpu": onnxruntime.RULES,
}


@dataclass(frozen=True)
class GraphReport:
    """What the rules find in one graph of a stage."""

    stage: str
    file: StageFile | None  # None where the stage has no graph for the target
    findings: tuple[Finding, ...]

    @property
    def faulty(self) -> bool:
        return any(finding.severity == FAULT for finding in self.findings)


def check_bundle(bundle: Bundle, target: str) -> list[GraphReport]:
    """Judge every graph that the target would run: per stage and precision, the one made for it.

    target: a key of RULES. Raises BundleError for another one.
    """
    if target not in RULES:
        raise BundleError(f"no rules for target {target!r}; there are rules for {', '.join(RULES)}")
    return [report for stage in bundle.stages for report in _check_stage(stage, target)]


def check_graph(
    model: onnx.ModelProto, target: str, bytes_in_file: int = 0, bytes_in_all: int | None = None
) -> list[Finding]:
    """Judge one model by the rules of a target (a key of RULES), faults first."""
    view = view_graph(model, bytes_in_file, bytes_in_all)
    found = [finding for rule in RULES[target] for finding in rule(view)]
    return sorted(found, key=lambda finding: finding.severity != FAULT)


def _check_stage(stage: StageSpec, target: str) -> Iterator[GraphReport]:
    files = [file for precision in PRECISIONS if (file := _file_for(stage, precision, target))]
    for file in files:
        size = file.path.stat().st_size
        total = size + sum(side.path.stat().st_size for side in file.external)
        model = onnx.load(file.path, load_external_data=False)
        if total < FILE_LIMIT:
            load_external_data_for_model(model, str(file.path.parent))
        yield GraphReport(stage.name, file, tuple(check_graph(model, target, size, total)))
    if not files:
        there = ", ".join(f"{file.precision} for {file.target}" for file in stage.files)
        text = f"no graph that {target} can run; there is {there}"
        yield GraphReport(
            stage.name, None, (Finding(FAULT, "", text, "export the stage for it, or for any"),)
        )


def _file_for(stage: StageSpec, precision: str, target: str) -> StageFile | None:
    """As backends choose: the graph made for the target, else the one for any."""
    for wanted in (target, "any"):
        for file in stage.files:
            if (file.precision, file.target) == (precision, wanted):
                return file
    return None
