"""A benchmark: every contender on every dataset, predicted once, scored by any protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from anomaly_seg_ros import __version__
from anomaly_seg_ros.replay.progress import Progress, no_progress
from anomaly_seg_ros.replay.writers import write_atomically
from training.benchmark.contenders import ContenderSpec
from training.benchmark.fitting import fitted
from training.benchmark.job import Job, Scored
from training.benchmark.machine import describe_machine
from training.benchmark.operating_point import Calibration
from training.benchmark.protocols import Counting, Protocol, protocols_for
from training.benchmark.published import published_rows
from training.benchmark.results import BenchmarkError, BenchmarkResults, DatasetInfo, Table
from training.benchmark.scored_frames import NATIVE, DatasetRef, EvaluationSize
from training.benchmark.submission import OFFICIAL_SETS, Submission, write_smiyc_submission
from training.benchmark.workers import Workers, open_workers

SETTINGS = "benchmark.json"  # what the predictions below --out were made with
FOLDER_FORMAT = 1


@dataclass(frozen=True)
class BenchmarkOptions:
    """What is measured.

    protocols: () = those that each dataset's authors use. fit_set, fit_frames: training frames that
    baselines with statistics are fitted on. limit: the first frames of each dataset only. strict: a
    damaged frame ends the run instead of being left out. calibration: sets an operating point of
    each contender on frames of its own. repeats: resamples of the 95 % intervals, 0 for none.
    latency: seconds that a frame takes for latency-aware protocols, None = as measured.
    """

    contenders: tuple[ContenderSpec, ...]
    datasets: tuple[str, ...]
    root: Path
    out: Path
    protocols: tuple[str, ...] = ()
    size: EvaluationSize = NATIVE
    workers: int = 1
    ray: str | None = None
    repeats: int = 1000
    seed: int = 0
    stored: str = "float32"
    pictures: int = 3
    fit_set: str = "cityscapes256"
    fit_frames: int = 200
    limit: int | None = None
    strict: bool = False
    calibration: Calibration | None = None
    latency: float | None = None
    title: str = "Road-anomaly benchmark"
    command: str = ""


def benchmark(options: BenchmarkOptions, *, progress: Progress = no_progress) -> BenchmarkResults:
    """Predict what is missing below `options.out`, score everything; the report is the caller's.

    Raises AnomalySegError: for data that is missing, contenders that cannot run, protocols that a
    dataset does not fit, predictions of other settings in `options.out`.
    """
    options = replace(options, contenders=_told_apart(options.contenders))
    references = [DatasetRef(spec, options.root, options.size) for spec in options.datasets]
    plans = {
        reference: protocols_for(reference.open(), options.protocols, options.calibration)
        for reference in references
    }
    _claim(options)
    contenders = [
        fitted(spec, options.root, options.out, options.fit_set, options.fit_frames, progress)
        for spec in options.contenders
    ]
    runs, tables, infos, warnings = [], [], [], []
    with open_workers(options.workers, options.ray) as workers:
        counting = {spec.name: _counting(spec, options, workers, progress) for spec in contenders}
        for reference, protocols in plans.items():
            scored: dict[str, Scored] = {}
            for spec in contenders:
                job = _job(spec, reference, options, workers)
                job.predict(progress)
                scored[spec.name] = job.score(
                    protocols, counting[spec.name], options.pictures, progress
                )
                runs.append(scored[spec.name].run)
                warnings += [
                    f"{reference.spec}: {name} was left out: {reason}"
                    for name, reason in job.damaged.items()
                ]
            info = _info(reference, scored)
            infos.append(info)
            tables += [_table(info, protocol, scored) for protocol in protocols]
    return BenchmarkResults(
        title=options.title,
        version=__version__,
        command=options.command,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine=describe_machine(),
        settings=_settings(replace(options, contenders=tuple(contenders)), counting),
        contenders={spec.name: spec.identity() for spec in contenders},
        datasets=infos,
        tables=tables,
        runs=runs,
        warnings=list(dict.fromkeys(warnings)),
    )


def write_submissions(options: BenchmarkOptions, out: Path) -> list[Submission]:
    """The stored scores of SegmentMeIfYouCan's datasets in its upload format, below `out`.

    Raises BenchmarkError when none of the datasets is one of its, or the scores are not of full
    size.
    """
    made = []
    if options.size != NATIVE:
        raise BenchmarkError("a submission needs scores of the images' own size: leave --size out")
    for spec in options.datasets:
        name = spec.partition("/")[0]
        if name in OFFICIAL_SETS:
            for contender in options.contenders:
                job = _job(contender, DatasetRef(spec, options.root), options, Workers())
                scores = job.stored_scores()
                made.append(write_smiyc_submission(scores, out, contender.folder, name))
    if not made:
        raise BenchmarkError(
            f"nothing to submit: {', '.join(options.datasets)} are no datasets of "
            f"SegmentMeIfYouCan ({', '.join(OFFICIAL_SETS)})"
        )
    return made


def _told_apart(contenders: Sequence[ContenderSpec]) -> tuple[ContenderSpec, ...]:
    """Raises BenchmarkError for two contenders of one name: their predictions would mix."""
    names = [spec.folder for spec in contenders]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or not names:
        raise BenchmarkError(
            f"two contenders are called {', '.join(twice)}: rename a folder or benchmark them apart"
            if twice
            else "no contender: name a --bundle, --checkpoint or --python"
        )
    return tuple(contenders)


def _job(
    spec: ContenderSpec, reference: DatasetRef, options: BenchmarkOptions, workers: Workers
) -> Job:
    return Job(
        spec,
        reference,
        options.out,
        workers,
        stored=options.stored,
        limit=options.limit,
        strict=options.strict,
    )


def _counting(
    spec: ContenderSpec, options: BenchmarkOptions, workers: Workers, progress: Progress
) -> Counting:
    counting = Counting(repeats=options.repeats, seed=options.seed, latency=options.latency)
    if options.calibration is None:
        return counting
    reference = DatasetRef(options.calibration.dataset, options.root, options.size)
    job = _job(spec, reference, options, workers)
    job.predict(progress)
    [curves] = job.passed((options.calibration.curves(),))
    return replace(counting, point=options.calibration.select(curves))


def _claim(options: BenchmarkOptions) -> None:
    """Note what the folder is for; refuse one that holds predictions made otherwise."""
    now: dict[str, Any] = {
        "format": FOLDER_FORMAT,
        "size": str(options.size),
        "stored": options.stored,
        "fit": [options.fit_set, options.fit_frames],
        "contenders": {spec.folder: spec.identity() for spec in options.contenders},
    }
    file = options.out / SETTINGS
    if file.is_file():
        try:
            before = json.loads(file.read_text())
        except ValueError as error:
            raise BenchmarkError(f"{file} is damaged ({error}); choose another --out") from error
        _compare(before, now, file)
        now["contenders"] = {**before["contenders"], **now["contenders"]}
    elif options.out.is_dir() and any(options.out.iterdir()):
        raise BenchmarkError(
            f"{options.out} is not empty and holds no {SETTINGS} of an earlier run; choose another "
            "--out"
        )
    write_atomically(file, json.dumps(now, indent=1).encode())


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], file: Path) -> None:
    differing = [key for key in now if key != "contenders" and before.get(key) != now[key]]
    faults = [f"{key}: {before.get(key)} before, {now[key]} now" for key in differing]
    for name, identity in now["contenders"].items():
        earlier = before.get("contenders", {}).get(name)
        if earlier not in (None, identity):
            faults.append(f"{name}: {earlier} before, {identity} now")
    if faults:
        raise BenchmarkError(
            f"{file.parent} holds predictions of other settings ({'; '.join(faults)}); choose "
            "another --out"
        )


def _settings(options: BenchmarkOptions, counting: Mapping[str, Counting]) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "evaluated at": {"native": "the images' own size"}.get(
            str(options.size), str(options.size)
        ),
        "scores stored as": options.stored,
        "bootstrap resamples": options.repeats,
        "seed": options.seed,
        "workers": f"Ray at {options.ray}" if options.ray else str(options.workers),
    }
    if options.limit:
        settings["frames per dataset"] = f"the first {options.limit} only"
    if options.calibration is not None:
        for name, entry in counting.items():
            assert entry.point is not None
            settings[f"operating point of {name}"] = entry.point.rule
    if any(spec.fitted for spec in options.contenders):
        settings["baselines fitted on"] = f"{options.fit_frames} frames of {options.fit_set}"
    return settings


def _info(reference: DatasetRef, scored: Mapping[str, Scored]) -> DatasetInfo:
    dataset, any_run = reference.open(), next(iter(scored.values()))
    return DatasetInfo(
        dataset.name, dataset.title, any_run.run.frames, any_run.pixels, dataset.source
    )


def _table(info: DatasetInfo, protocol: Protocol, scored: Mapping[str, Scored]) -> Table:
    return Table(
        dataset=info.name,
        protocol=protocol.name,
        title=f"{info.label}: {protocol.title}",
        note=protocol.note,
        columns=protocol.columns,
        rows={name: entry.figures[protocol.name] for name, entry in scored.items()},
        published=published_rows(info.name.partition("/")[0], protocol.name),
    )
