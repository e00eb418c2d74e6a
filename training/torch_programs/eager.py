"""Torch as scripts run it: stage by stage, every tensor through the host. What programs beat."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from anomaly_seg_ros.backends import Runner, RunnerInfo, RunResult
from training.stage import Stage


class EagerRunner(Runner):
    """Stages on a device, without graphs or programs; in half precision by torch.autocast."""

    def __init__(
        self, stages: Sequence[Stage], device: torch.device, *, half: bool = False
    ) -> None:
        self.stages = [stage.eval().to(device) for stage in stages]
        self.device, self.half = device, half

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        start = time.perf_counter()
        arrays = {"image": image}
        precision: Any = nullcontext()
        if self.half:
            precision = torch.autocast(self.device.type, torch.float16)
        with torch.inference_mode(), precision:
            for stage in self.stages:
                inputs = (torch.from_numpy(arrays[name]).to(self.device) for name in stage.inputs)
                made = stage(*inputs)
                values = made if isinstance(made, tuple) else (made,)
                floats = (v.float() if v.is_floating_point() else v for v in values)
                named = zip(stage.outputs, floats, strict=True)
                arrays.update({name: value.cpu().numpy() for name, value in named})
        seconds = {"total": time.perf_counter() - start}
        return RunResult({name: arrays[name] for name in wanted}, seconds)

    def warmup(self, runs: int = 2) -> float:
        return 0.0

    def describe(self) -> RunnerInfo:
        precision = "fp16" if self.half else "fp32"
        return RunnerInfo("eager", str(self.device), precision, str(torch.__version__), 0, "")

    def close(self) -> None:
        self.stages = []
