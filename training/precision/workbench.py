"""One bundle on the bench: its prepared graphs, the frames and the fp32 answers, made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import onnx

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.backends.base import choose_file
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from training.precision.frames import Pictures, calibration_pictures, measured_frames
from training.precision.graphs import prepared, with_bytes_at_ends
from training.precision.parity import Parity, Reference

HEADS = ("logits", "labels", "score")


def stage_feeds(
    runner: Runner, stage: StageSpec, images: Iterable[np.ndarray]
) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of a stage by name, one dictionary per image uint8 [1, H, W, 3]."""
    made = [name for name in stage.inputs if name != IMAGE]
    for image in images:
        arrays = runner.run(image, made).arrays if made else {}
        yield {name: image if name == IMAGE else arrays[name] for name in stage.inputs}


class Workbench:
    """What every conversion of a bundle needs.

    data: folder of the datasets, or None. frames: how many to calibrate on. every: parity is
    measured on each so-manieth frame. Raises BundleError and BackendError.
    """

    def __init__(
        self, bundle: Bundle, data: Path | None, folder: Path, *, frames: int, every: int
    ) -> None:
        self.bundle, self.folder = bundle, folder
        self.pictures: Pictures = calibration_pictures(data, frames)
        self.images = list(self.pictures.fitted(bundle))
        self.runner: Runner = load_runner(bundle, "onnxruntime", "cpu", threads=1)
        samples, real = measured_frames(data)
        self.reference = Reference(bundle, samples, every=every, real=real, threads=1)
        low, high = bundle.score_display
        self.score_range = high - low
        self.graph = cache(self._prepared)
        self.gpu_graph = cache(lambda name: with_bytes_at_ends(self.graph(name)))

    def feeds(self, stage: StageSpec) -> Iterator[dict[str, np.ndarray]]:
        """The inputs of a stage on every calibration frame, by name."""
        return stage_feeds(self.runner, stage, self.images)

    def heads(self, stage: StageSpec) -> list[str]:
        """Outputs of the stage that are read as they are."""
        return [spec.name for spec in stage.outputs if spec.name in HEADS]

    def write(self, graphs: Mapping[str, onnx.ModelProto], label: str) -> dict[str, Path]:
        """Files of the graphs, by stage; label tells them from other files of the bench."""
        files = {stage: self.folder / f"{stage}.{label}.onnx" for stage in graphs}
        for stage, file in files.items():
            onnx.save(graphs[stage], file)
        return files

    def measure(
        self, graphs: Mapping[str, onnx.ModelProto], precision: str, *, first: int | None = None
    ) -> Parity:
        """The chain with these graphs against fp32; see `Reference.measure`."""
        return self.reference.measure(self.write(graphs, "measured"), precision, first=first)

    def close(self) -> None:
        self.runner.close()

    def _prepared(self, name: str) -> onnx.ModelProto:
        [stage] = [stage for stage in self.bundle.stages if stage.name == name]
        return prepared(choose_file(stage, "fp32", "onnxruntime-cpu").path)
