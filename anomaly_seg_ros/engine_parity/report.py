"""A comparison of two engines as JSON and as a page for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from anomaly_seg_ros.backends import RunnerInfo
from anomaly_seg_ros.engine_parity.compare import ParityReport, StageParity
from anomaly_seg_ros.engine_parity.errors import Outcome, TensorDifference

FORMAT = 1


def report_json(report: ParityReport) -> dict[str, Any]:
    """Everything that was found, as JSON holds it (no NaN, no infinity)."""
    bad = report.first_bad_stage
    return {
        "format": FORMAT,
        "agree": not report.faults,
        "faults": report.faults,
        "first_bad_stage": bad.name if bad else None,
        "bad_alone": report.bad_alone,
        "reference": _engine_json(*report.reference),
        "test": _engine_json(*report.test),
        "source": report.source,
        "network": list(report.network),
        "threshold": report.threshold,
        "gates": asdict(report.gates),
        "outcome": report.outcome.as_json(),
        "stages": [_stage_json(stage) for stage in report.stages],
        "frames": [{"name": f.name, **f.outcome.as_json()} for f in report.frames],
        "bad_frames": [asdict(frame) for frame in report.bad_frames],
    }


def report_lines(report: ParityReport) -> list[str]:
    """The page: engines, result, stages, tensors, verdict."""
    outcome, gates = report.outcome, report.gates
    height, width = report.network
    lines = [
        f"reference  {_engine(*report.reference)}",
        f"test       {_engine(*report.test)}",
        f"{len(report.frames)} frames of {report.source}, network {height}x{width}",
        *(f"unreadable: {frame.name}: {frame.reason}" for frame in report.bad_frames[:10]),
        "",
        f"labels     {outcome.agreement:.4%} agree, {outcome.flipped} of {outcome.pixels} flipped "
        f"(at least {gates.min_agreement:.4%})",
        f"score      {_errors(outcome)} (at most {gates.max_score_error:.3g}); "
        f"{outcome.left_out:.2%} of pixels left out near flips",
        f"alarms     {outcome.alarm_agreement:.4%} of pixels on the same side of threshold "
        f"{report.threshold:.4g}",
        f"worst      frame {report.worst.name}: {report.worst.outcome.agreement:.4%} agree, "
        f"score {_errors(report.worst.outcome)}",
        "",
        *_stage_table(report),
        "",
        *_tensor_table(report.stages),
        "",
    ]
    return lines + verdict_lines(report)


def verdict_lines(report: ParityReport) -> list[str]:
    """Whether the engines agree, and if not, where they part."""
    if not report.faults:
        return ["the engines agree within the gates"]
    lines = ["beyond the gates:", *(f"  - {fault}" for fault in report.faults)]
    bad = report.first_bad_stage
    if bad is None:
        backend = report.reference[1].backend
        return [
            *lines,
            f"first bad stage: not known, because backend {backend} of the reference cannot run a "
            "stage alone; take a reference that can, such as onnxruntime",
        ]
    lines.append(f"first bad stage: {bad.name}")
    if report.bad_alone and bad.name not in report.bad_alone:
        lines.append(f"  alone it is within the gates; alone beyond them: {report.bad_alone}")
    elif bad.result_alone is not None and not report.bad_alone:
        lines.append("  no stage is beyond the gates alone: it is where their errors add up to it")
    others = [name for name in report.bad_alone if name != bad.name]
    if bad.name in report.bad_alone and others:
        lines.append(f"  also beyond the gates alone: {', '.join(others)}")
    return lines


def _stage_table(report: ParityReport) -> list[str]:
    """What each stage does to the final labels and score."""
    rows = [["stage", "alone: labels", "score max", "", "up to here: labels", "score max", ""]]
    for stage in report.stages:
        row = [stage.name]
        for result in (stage.result_alone, stage.result):
            if result is None:
                row += ["-", "-", ""]
            else:
                verdict = "beyond" if result.faults(report.gates) else "ok"
                row += [f"{result.agreement:.4%}", _number(result.score.largest), verdict]
        rows.append(row)
    return _table(rows)


def _tensor_table(stages: Iterable[StageParity]) -> list[str]:
    """The tensors that each stage makes: errors alone and chained."""
    rows = [["tensor", "largest", "alone: mean", "p99", "max", "chained: mean", "p99", "max"]]
    for stage in stages:
        for index, chained in enumerate(stage.chained):
            alone = None if stage.alone is None else stage.alone[index]
            row = [chained.name, _number(chained.span)]
            rows.append([*row, *_difference(alone), *_difference(chained)])
    return _table(rows)


def _difference(tensor: TensorDifference | None) -> list[str]:
    if tensor is None:
        return ["-", "-", "-"]
    if tensor.error is None:
        return [f"{tensor.equal:.4%}", "equal", ""]
    error = tensor.error
    largest = f"{error.not_finite} not finite" if error.not_finite else _number(error.largest)
    return [_number(error.mean), _number(error.p99), largest]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells with the columns below each other, the first to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _errors(outcome: Outcome) -> str:
    score = outcome.score
    text = (
        f"mean {_number(score.mean)}, p99 {_number(score.p99)}, max {_number(score.largest)}"
        if score.values
        else "nothing to compare"
    )
    return text + (f", {score.not_finite} not finite" if score.not_finite else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _engine(bundle: str, info: RunnerInfo) -> str:
    threads = f", {info.threads} thread{'s' if info.threads != 1 else ''}" if info.threads else ""
    return f"{bundle} on {info.backend} {info.version}, {info.device}, {info.precision}{threads}"


def _engine_json(bundle: str, info: RunnerInfo) -> dict[str, Any]:
    return {"bundle": bundle, **asdict(info)}


def _stage_json(stage: StageParity) -> dict[str, Any]:
    return {
        "name": stage.name,
        "alone": {
            "tensors": None if stage.alone is None else [t.as_json() for t in stage.alone],
            "outcome": stage.result_alone and stage.result_alone.as_json(),
        },
        "chained": {
            "tensors": [tensor.as_json() for tensor in stage.chained],
            "outcome": stage.result and stage.result.as_json(),
        },
    }
