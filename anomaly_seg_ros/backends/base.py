"""What every backend promises: load a bundle, run its stages, say what it is."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from anomaly_seg_ros.backends.build_watch import BuildWatch
from anomaly_seg_ros.bundle import Bundle, InputSpec, StageFile, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.errors import BackendError

MAX_DEFAULT_THREADS = 4  # the rest of the vehicle's software wants cores too
UPLOAD, DOWNLOAD = "upload", "download"  # keys of RunResult.seconds, see there


@dataclass(frozen=True)
class RunResult:
    """The wanted tensors, each with the batch dimension first, and where the time went.

    seconds: wall clock of each stage that ran, of the `upload` and `download` where the backend
    moves tensors to a device and back and can tell, and the `total` of everything. A backend that
    launches all stages as one piece tells only the total, unless `Runner.profiling` is set.
    """

    arrays: dict[str, np.ndarray]
    seconds: dict[str, float]


@dataclass(frozen=True)
class RunnerInfo:
    """What runs, for logs and diagnostics."""

    backend: str
    device: str  # cpu, cuda:0
    precision: str
    version: str  # of the runtime
    threads: int  # 0 where the device does not count in threads
    note: str  # why `auto` picked it, and what does not run as planned; else empty


class Runner(ABC):
    """A loaded bundle. Belongs to one thread at a time; `close` gives its memory back."""

    note: str = ""  # why `auto` picked it; goes into describe()
    can_run_stages: ClassVar[bool] = False  # whether `run_stage` works here
    profiling: bool = False  # set True for seconds of every stage even where that makes runs slower

    @abstractmethod
    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        """Run the stages that the wanted tensors need.

        image: uint8 [N, H, W, 3] RGB at the bundle's input size, C-contiguous. wanted: names of
        tensors that any stage makes. Raises BackendError for another image or an unknown name.
        """

    def run_stage(self, name: str, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one stage alone on given tensors: what parity checks compare backends with.

        Optional; a runner that has it sets `can_run_stages`. name: of a stage. tensors: at least
        the stage's inputs, of the dtypes and shapes that the bundle declares ([1, ...]); others
        are passed over (`stage_inputs` checks and picks). Returns all outputs of the stage, on the
        host and the caller's own. It may be slow, and must compute exactly what `run` computes.
        Raises BackendError for an unknown stage, a missing or another tensor, and by default.
        """
        raise BackendError(
            f"backend {self.describe().backend} cannot run stage {name} alone: compare whole runs"
        )

    @abstractmethod
    def warmup(self, runs: int = 2) -> float:
        """Run all stages on a black image; seconds of the last run. First runs are slow."""

    @abstractmethod
    def describe(self) -> RunnerInfo: ...

    @abstractmethod
    def close(self) -> None:
        """Release everything. A later `run` raises BackendError."""


class Backend(ABC):
    """A way to run bundles on some device."""

    name: ClassVar[str]

    @abstractmethod
    def unavailable_reason(self) -> str | None:
        """Why this machine cannot run it, with the mend; None when it can."""

    @abstractmethod
    def load(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Runner:
        """Load every stage. Raises BackendError, never runs something else than asked.

        Never builds what takes minutes: that is the work of `prepare`.
        """

    def prepare(
        self,
        bundle: Bundle,
        device: str | None = None,
        precision: str = "fp32",
        watch: BuildWatch | None = None,
    ) -> None:
        """Build and keep on this machine what `load` with the same arguments needs.

        Does nothing where that is there already, and in backends that build nothing. May take
        minutes. Raises BackendError, and BuildCancelled when the watch says so.
        """
        return None


def check_image(image: np.ndarray, expected: InputSpec) -> None:
    """Raise BackendError unless image is uint8 [N >= 1, H, W, 3], C-contiguous."""
    shape = (expected.height, expected.width, 3)
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 4
        or image.shape[1:] != shape
        or image.shape[0] < 1
    ):
        found = (
            f"{image.dtype} {list(image.shape)}"
            if isinstance(image, np.ndarray)
            else type(image).__name__
        )
        raise BackendError(
            f"image is {found}; expected uint8 [N, {', '.join(map(str, shape))}] RGB: fit it to "
            "the bundle's input first (Detector does)"
        )
    if not image.flags.c_contiguous:
        raise BackendError(
            f"image {list(image.shape)} is a strided view; expected C-contiguous memory: pass "
            "np.ascontiguousarray(image)"
        )


def needed_stages(bundle: Bundle, wanted: Sequence[str]) -> list[tuple[StageSpec, list[str]]]:
    """The stages that make `wanted`, in order, each with the outputs that somebody takes.

    Raises BackendError for a tensor that no stage makes.
    """
    made = bundle.outputs()
    unknown = [name for name in wanted if name not in made]
    if unknown:
        raise BackendError(
            f"bundle {bundle.name} makes no {', '.join(unknown)}; it makes {', '.join(made)}"
        )
    taken = set(wanted)
    plan: list[tuple[StageSpec, list[str]]] = []
    for stage in reversed(bundle.stages):
        outputs = [spec.name for spec in stage.outputs if spec.name in taken]
        if outputs:
            plan.insert(0, (stage, outputs))
            taken.update(stage.inputs)
    return plan


def stage_inputs(
    bundle: Bundle, name: str, tensors: Mapping[str, np.ndarray]
) -> tuple[StageSpec, dict[str, np.ndarray]]:
    """The stage of that name and its inputs out of `tensors`, in order, checked, C-contiguous.

    Raises BackendError for an unknown stage, and for an input that is missing or not as declared.
    """
    stages = {stage.name: stage for stage in bundle.stages}
    if name not in stages:
        raise BackendError(f"bundle {bundle.name} has no stage {name}; it has {', '.join(stages)}")
    specs = {IMAGE: bundle.input.image, **bundle.outputs()}
    inputs = {}
    for tensor in stages[name].inputs:
        array, spec = tensors.get(tensor), specs[tensor]
        if array is None or (array.dtype.name, array.shape) != (spec.dtype, spec.shape):
            found = "is missing" if array is None else f"is {array.dtype} {list(array.shape)}"
            raise BackendError(f"{tensor} for stage {name} {found}; expected {spec}")
        inputs[tensor] = np.ascontiguousarray(array)
    return stages[name], inputs


def choose_file(stage: StageSpec, precision: str, target: str) -> StageFile:
    """The stage's graph of that precision: the one made for `target`, else the one for any.

    Raises BackendError listing what there is. Another precision is never put in its place.
    """
    for wanted in (target, "any"):
        for file in stage.files:
            if (file.precision, file.target) == (precision, wanted):
                return file
    there = ", ".join(f"{file.precision} for {file.target}" for file in stage.files)
    raise BackendError(
        f"stage {stage.name} has no {precision} graph that {target} can run; it has {there}: "
        "ask for one of these or export that precision"
    )


def thread_count(threads: int | None) -> int:
    """`threads` checked, or by default the cores this process may use, at most 4."""
    if threads is None:
        return min(MAX_DEFAULT_THREADS, len(os.sched_getaffinity(0)))
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise BackendError(f"threads is {threads!r}; expected a whole number of 1 or more")
    return threads
