"""Whether two engines give the same results, and at which stage they part.

Three chains of stages are run on every frame, all from the same network input:

- the reference's and the test's own;
- *alone*: the reference's tensors go into one stage of the test, and the reference goes on from
  there: what that stage does wrong by itself;
- *up to here*: the test's stages up to one, then the reference's: what has gone wrong so far. The
  first stage whose chain is beyond the gates is where the engines part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from anomaly_seg_ros.backends import Runner, RunnerInfo
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.bundle_parts import IMAGE
from anomaly_seg_ros.engine_parity.errors import (
    Gates,
    Outcome,
    OutcomeCounts,
    TensorCounts,
    TensorDifference,
)
from anomaly_seg_ros.errors import AnomalySegError
from anomaly_seg_ros.imaging import Fitting
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.sources import BadFrame, Source

Tensors = Mapping[str, np.ndarray]  # by name, each with the batch dimension 1


class ParityError(AnomalySegError):
    """Two engines that cannot be compared, or nothing to compare them on."""


@dataclass(frozen=True)
class Engine:
    """A loaded bundle."""

    bundle: Bundle
    runner: Runner


@dataclass(frozen=True)
class FrameParity:
    """One frame: the test's labels and score against the reference's."""

    name: str
    outcome: Outcome


@dataclass(frozen=True)
class StageParity:
    """One stage of the test. What a backend that runs no stage alone cannot tell is None."""

    name: str
    chained: tuple[TensorDifference, ...]  # of its outputs, after the test's own stages
    alone: tuple[TensorDifference, ...] | None  # fed with the reference's tensors
    result: Outcome | None  # the test up to this stage, then the reference
    result_alone: Outcome | None  # the reference, with this stage of the test


@dataclass(frozen=True)
class ParityReport:
    """What a comparison found."""

    reference: tuple[str, RunnerInfo]  # bundle, what ran it
    test: tuple[str, RunnerInfo]
    source: str
    network: tuple[int, int]  # height, width
    threshold: float
    gates: Gates
    outcome: Outcome
    stages: tuple[StageParity, ...]
    frames: tuple[FrameParity, ...]
    bad_frames: tuple[BadFrame, ...] = ()

    @property
    def faults(self) -> list[str]:
        """What is beyond the gates; empty: the engines agree."""
        return self.outcome.faults(self.gates)

    @property
    def first_bad_stage(self) -> StageParity | None:
        """Where the engines part; None when they agree or when the reference cannot tell."""
        for stage in self.stages if self.faults else ():
            if stage.result is None:
                return None  # a later stage may be bad, but not the first one to be
            if stage.result.faults(self.gates):
                return stage
        return None

    @property
    def bad_alone(self) -> list[str]:
        """Stages that are beyond the gates even when they get the reference's tensors."""
        return [
            stage.name
            for stage in self.stages
            if stage.result_alone is not None and stage.result_alone.faults(self.gates)
        ]

    @property
    def worst(self) -> FrameParity:
        """The frame with the largest score error, or the fewest equal labels where none has one."""
        return max(
            self.frames, key=lambda frame: (frame.outcome.score.largest or 0, frame.outcome.flipped)
        )


@dataclass(frozen=True)
class ParityOptions:
    """What is compared, and how."""

    gates: Gates
    frames: int = 20  # of the source, evenly spread
    margin: int = 4  # cells around a flipped label whose score does not count
    operating_point: str = "default"  # its threshold splits alarms from the rest


OnFrame = Callable[[str, Tensors, Tensors], None]
"""(name of the frame, the reference's tensors, the test's): to draw it."""


def compare_engines(
    reference: Engine,
    test: Engine,
    source: Source,
    options: ParityOptions,
    *,
    progress: Progress = no_progress,
    on_frame: OnFrame | None = None,
) -> ParityReport:
    """Run both engines over frames of `source` and compare every tensor of every stage.

    The runners must not be used elsewhere meanwhile. Raises ParityError when the bundles differ in
    more than their graphs or no frame can be read, BackendError when a run fails.
    """
    check_comparable(reference.bundle, test.bundle)
    points = reference.bundle.operating_points
    if options.operating_point not in points:
        raise ParityError(
            f"bundle {reference.bundle.name} has no operating point {options.operating_point!r}; "
            f"it has {', '.join(points)}"
        )
    threshold = points[options.operating_point].threshold
    outcome = partial(OutcomeCounts, threshold, options.margin)
    whole = outcome()
    stages = [
        _StageCounts.of(index, reference, test, outcome) for index in range(len(test.bundle.stages))
    ]
    rows: list[FrameParity] = []
    bad: list[BadFrame] = []
    total = min(options.frames, len(source) or options.frames)
    with progress("comparing", total, 0) as advance:
        for name, image in _inputs(reference.bundle, source, options.frames, bad):
            wanted = tuple(reference.bundle.outputs())
            expected = {IMAGE: image, **reference.runner.run(image, wanted).arrays}
            found = {IMAGE: image, **test.runner.run(image, wanted).arrays}
            _check_reference(reference, name, expected)
            frame = outcome()
            for counts in (frame, whole):
                _count(counts, expected, found)
            rows.append(FrameParity(name, frame.outcome()))
            _compare_stages(reference, test, expected, found, stages)
            if on_frame is not None:
                on_frame(name, expected, found)
            advance()
    if not rows:
        reasons = "".join(f"\n  - {frame.name}: {frame.reason}" for frame in bad[:10])
        raise ParityError(f"{source.describe().path}: no frame could be read{reasons}")
    spec = reference.bundle.input
    return ParityReport(
        reference=(reference.bundle.name, reference.runner.describe()),
        test=(test.bundle.name, test.runner.describe()),
        source=source.describe().path,
        network=(spec.height, spec.width),
        threshold=threshold,
        gates=options.gates,
        outcome=whole.outcome(),
        stages=tuple(stage.parity() for stage in stages),
        frames=tuple(rows),
        bad_frames=tuple(bad),
    )


def check_comparable(reference: Bundle, test: Bundle) -> None:
    """Raise ParityError unless both take the same image and make the same tensors and classes."""
    faults = []
    if reference.input != test.input:
        faults.append(f"input: {reference.input} and {test.input}")
    chains = [
        [(stage.name, stage.inputs, stage.outputs) for stage in bundle.stages]
        for bundle in (reference, test)
    ]
    if chains[0] != chains[1]:
        shown = [
            "; ".join(
                f"{name}: {', '.join(inputs)} -> {', '.join(map(str, outputs))}"
                for name, inputs, outputs in chain
            )
            for chain in chains
        ]
        faults.append(f"stages: {shown[0]}\n    and {shown[1]}")
    if reference.class_names() != test.class_names():
        faults.append("classes: their ids or names differ")
    if faults:
        lines = "\n".join(f"  - {fault}" for fault in faults)
        raise ParityError(
            f"bundles {reference.name} and {test.name} cannot be compared tensor by tensor:\n"
            f"{lines}\nCompare two exports of one method with one input size."
        )


@dataclass(frozen=True)
class _StageCounts:
    """What is counted for one stage; None where a backend runs no stage alone."""

    stage: StageSpec
    later: tuple[StageSpec, ...]
    chained: list[TensorCounts]
    alone: list[TensorCounts] | None
    result: OutcomeCounts | None
    result_alone: OutcomeCounts | None

    @classmethod
    def of(
        cls, index: int, reference: Engine, test: Engine, outcome: Callable[[], OutcomeCounts]
    ) -> _StageCounts:
        stage, *later = test.bundle.stages[index:]
        goes_on = reference.runner.can_run_stages or not later
        alone = test.runner.can_run_stages
        return cls(
            stage,
            tuple(later),
            chained=[TensorCounts(spec.name) for spec in stage.outputs],
            alone=[TensorCounts(spec.name) for spec in stage.outputs] if alone else None,
            result=outcome() if goes_on else None,
            result_alone=outcome() if goes_on and alone else None,
        )

    def parity(self) -> StageParity:
        return StageParity(
            name=self.stage.name,
            chained=tuple(counts.difference() for counts in self.chained),
            alone=None if self.alone is None else tuple(c.difference() for c in self.alone),
            result=None if self.result is None else self.result.outcome(),
            result_alone=None if self.result_alone is None else self.result_alone.outcome(),
        )


def _compare_stages(
    reference: Engine,
    test: Engine,
    expected: Tensors,
    found: Tensors,
    stages: Sequence[_StageCounts],
) -> None:
    """Count one frame for every stage: its own tensors and what comes out at the end."""
    so_far = dict(expected)
    for counts in stages:
        so_far.update({tensor.name: found[tensor.name] for tensor in counts.chained})
        for tensor in counts.chained:
            tensor.add(expected[tensor.name], found[tensor.name])
        if counts.result is not None:
            _count(counts.result, expected, _go_on(reference, counts.later, so_far))
        if counts.alone is None:
            continue
        made = test.runner.run_stage(counts.stage.name, expected)
        for tensor in counts.alone:
            tensor.add(expected[tensor.name], made[tensor.name])
        if counts.result_alone is not None:
            ended = _go_on(reference, counts.later, {**expected, **made})
            _count(counts.result_alone, expected, ended)


def _go_on(engine: Engine, stages: Sequence[StageSpec], tensors: Tensors) -> Tensors:
    """The tensors after `stages` of the engine have run on them, one by one."""
    tensors = dict(tensors)
    for stage in stages:
        tensors.update(engine.runner.run_stage(stage.name, tensors))
    return tensors


def _count(counts: OutcomeCounts, expected: Tensors, found: Tensors) -> None:
    counts.add(
        (expected["labels"][0], found["labels"][0]), (expected["score"][0], found["score"][0])
    )


def _check_reference(reference: Engine, frame: str, tensors: Tensors) -> None:
    bad = int(np.count_nonzero(~np.isfinite(tensors["score"])))
    if bad:
        raise ParityError(
            f"the reference itself gives {bad} values of the score that are not finite on frame "
            f"{frame} ({reference.runner.describe().precision}): take another reference"
        )


def _inputs(
    bundle: Bundle, source: Source, count: int, bad: list[BadFrame]
) -> Iterator[tuple[str, np.ndarray]]:
    """Up to `count` frames spread evenly over the source: name, uint8 [1, H, W, 3] as `bundle`
    takes it. Frames that cannot be read go to `bad`."""
    spec = bundle.input
    length = len(source)
    chosen = {index * length // count for index in range(count)} if length > count else None
    fittings: dict[tuple[int, ...], Fitting] = {}
    given = 0
    for frame in source.frames(lambda index: chosen is None or index in chosen):
        if isinstance(frame, BadFrame):
            bad.append(frame)
            continue
        size = (frame.image.shape[0], frame.image.shape[1])
        if size not in fittings:
            fittings[size] = Fitting(size, (spec.height, spec.width), spec.fit, spec.antialias)
        yield frame.name, fittings[size].fit(frame.image)[None]
        given += 1
        if given == count:
            return
