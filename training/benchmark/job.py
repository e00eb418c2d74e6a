"""One contender on one dataset: predictions that are missing, then the passes of the protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import schedule
from anomaly_seg_ros.replay.progress import Progress
from training.benchmark.accumulators import Guarded
from training.benchmark.analysis import Analysis
from training.benchmark.contenders import ContenderSpec
from training.benchmark.pictures import draw_pictures
from training.benchmark.predictions import PredictionStore, slug
from training.benchmark.protocols import Counting, Protocol
from training.benchmark.results import BenchmarkError, Figure, Run
from training.benchmark.scored_frames import DatasetRef
from training.benchmark.tasks import NOTHING_YET, Task, chunks, predict_task, score_task
from training.benchmark.workers import Workers
from training.data.label_spaces import CITYSCAPES


@dataclass(frozen=True)
class Scored:
    """What a job found: the run for the report, figures by protocol and column, pixel counts."""

    run: Run
    figures: dict[str, dict[str, Figure]]
    pixels: dict[str, int]


class Job:
    """`predict`, then `score`. excluded: frames left out, with reasons."""

    def __init__(
        self,
        contender: ContenderSpec,
        reference: DatasetRef,
        out: Path,
        workers: Workers,
        *,
        stored: str = "float32",
        limit: int | None = None,
        strict: bool = False,
    ) -> None:
        self.contender, self.reference = contender, reference
        self.out, self.workers, self.strict = out, workers, strict
        self.dataset = reference.open()
        folder = out / "predictions" / contender.folder / slug(reference.spec)
        self.store = PredictionStore(folder, stored)
        self.frames = tuple(enumerate(self.dataset.names[:limit]))
        self.excluded = [(entry.name, entry.reason) for entry in self.dataset.excluded]
        self.damaged: dict[str, str] = {}

    def predict(self, progress: Progress) -> None:
        """Run the network on frames without a stored prediction; damaged ones are excluded.

        Raises BenchmarkError when no frame is left.
        """
        missing = [frame for frame in self.frames if not self.store.has(frame[1])]
        tasks = [self._task(chunk) for chunk in chunks(missing)]
        what = f"{self.contender.name} on {self.dataset.name}"
        if missing:
            with progress(what, len(self.frames), len(self.frames) - len(missing)) as advance:
                for task, bad in zip(tasks, self.workers.map(predict_task, tasks), strict=True):
                    self.damaged.update(bad)
                    for _ in task.frames:
                        advance()
        self.excluded += sorted(self.damaged.items())
        self.frames = tuple(frame for frame in self.frames if frame[1] not in self.damaged)
        if not self.frames:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in self.excluded[:3])
            raise BenchmarkError(
                f"{self.dataset.title} ({self.reference.spec}): no frame can be scored"
                + (f"; {reasons}" if reasons else ": the split is empty")
            )

    def stored_scores(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and score float32 [H, W] of each frame that was predicted."""
        for _, name in self.frames:
            if self.store.has(name):
                yield name, self.store.read(name).score

    def score(
        self, protocols: Sequence[Protocol], counting: Counting, pictures: int, progress: Progress
    ) -> Scored:
        """Two passes over the frames at most, and one more for latency-aware protocols."""
        offline = [protocol for protocol in protocols if not protocol.streaming]
        started = tuple(Guarded(protocol.start(counting)) for protocol in offline)
        with progress(f"scoring {self.contender.name}", len(self.frames), 0) as advance:
            analysis, *made = self.passed((Analysis(), *started), advance=advance)
        figures: dict[str, dict[str, Figure]] = {}
        first = {protocol.name: entry for protocol, entry in zip(offline, made, strict=True)}
        later: dict[str, Guarded] = {}
        for protocol in offline:
            if protocol.second is not None:
                try:
                    after = protocol.second(first[protocol.name].checked())
                    later[protocol.name] = Guarded(after)
                except MetricError as error:
                    figures[protocol.name] = protocol.undefined(str(error))
        if later:
            later = dict(zip(later, self.passed(tuple(later.values())), strict=True))
        for protocol in protocols:
            if protocol.streaming:
                sources = self._sources(analysis, counting)
                started = (Guarded(protocol.start(counting)),)
                [first[protocol.name]] = self.passed(started, sources=sources)
            if protocol.name not in figures:
                both = first[protocol.name], later.get(protocol.name)
                figures[protocol.name] = protocol.measured(*both, analysis.pooled, counting)
        spread = analysis.spread()
        index_of = {name: index for index, name in self.frames}
        space, kind = self.dataset.space, "class"
        if space is None:
            space, kind = CITYSCAPES, "predicted class"
        run = Run(
            contender=self.contender.name,
            dataset=self.dataset.name,
            frames=len(self.frames),
            excluded=self.excluded,
            cost=analysis.cost(),
            curves=analysis.curves(),
            spread=spread,
            breakdowns=analysis.breakdowns(space.names, kind),
            rows=analysis.rows,
            pictures=draw_pictures(
                self.reference, self.store, analysis.rows, spread, index_of, self.out, pictures
            ),
        )
        return Scored(run, figures, analysis.pixels)

    def passed(
        self,
        accumulators: tuple[Any, ...],
        *,
        sources: Sequence[str] | None = None,
        advance: Callable[[], object] = lambda: None,
    ) -> list[Any]:
        """The accumulators after all frames: filled task by task, merged in order."""
        totals: list[Any] = []
        tasks = [
            self._task(chunk, accumulators, tuple(part) if sources else None)
            for chunk, part in zip(chunks(self.frames), chunks(sources or self.frames), strict=True)
        ]
        for task, parts in zip(tasks, self.workers.map(score_task, tasks), strict=True):
            for total, part in zip(totals, parts, strict=False):
                total.merge(part)
            totals = totals or list(parts)
            for _ in task.frames:
                advance()
        return totals

    def _sources(self, analysis: Analysis, counting: Counting) -> list[str]:
        """For each frame the one whose result is there when it comes, sequence by sequence."""
        assert self.dataset.times is not None  # streaming protocols are refused without
        sequences: dict[str, list[int]] = {}
        for place, (index, _) in enumerate(self.frames):
            sequences.setdefault(self.dataset.times[index][0], []).append(place)
        sources = [NOTHING_YET] * len(self.frames)
        for places in sequences.values():
            times = [self.dataset.times[self.frames[place][0]][1] for place in places]
            measured = [analysis.rows[place].seconds for place in places]
            seconds = measured if counting.latency is None else counting.latency
            for place, result in zip(places, schedule(times, seconds), strict=True):
                if result is not None:
                    sources[place] = self.frames[places[result]][1]
        return sources

    def _task(
        self,
        chunk: Sequence[tuple[int, str]],
        accumulators: tuple[Any, ...] = (),
        sources: tuple[str, ...] | None = None,
    ) -> Task:
        return Task(
            self.contender,
            self.reference,
            self.store,
            tuple(chunk),
            accumulators,
            sources,
            self.strict,
        )
