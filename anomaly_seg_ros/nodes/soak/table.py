"""The report of a soak as one table for a terminal. Importable without ROS."""

from __future__ import annotations

from anomaly_seg_ros.nodes.soak.results import (
    FaultNumbers,
    LatencyNumbers,
    Part,
    SoakReport,
    StreamNumbers,
)

MISSING = "-"


def table(report: SoakReport) -> str:
    """Streams, latencies and faults, one block each, and the verdict."""
    lines = [
        f"bundle    {report.bundle} on {report.engine}",
        *(f"machine   {line}" for line in report.machine),
    ]
    for size, bare in report.bare.items():
        lines.append(
            f"bare      Detector.detect of {size}: p50 {bare.p50:.1f}, p95 {bare.p95:.1f}, "
            f"p99 {bare.p99:.1f} ms"
        )
    if report.rate is not None:
        lines.append(f"rate      {report.rate:.2f} frames/s served")
    latency = [part for part in report.parts if part.name.startswith("latency_")]
    streams = [part for part in report.parts if part.name.startswith("stream_")]
    faults = [part for part in report.parts if part not in (*latency, *streams)]
    for part in streams:
        lines += ["", *_stream_lines(part)]
    if latency:
        lines += ["", *_latency_lines(latency)]
    if faults:
        lines += ["", *_fault_lines(faults)]
    missing = [part for part in report.parts if part.not_offered]
    count = len(report.parts) - len(report.failed) - len(missing)
    verdict = f"{count} ok, {len(report.failed)} FAILED, {len(missing)} not offered"
    return "\n".join([*lines, "", f"verdict   {verdict}"])


def _stream_lines(part: Part) -> list[str]:
    lines = [f"{part.title:<44}{part.verdict}"]
    if isinstance(part.numbers, StreamNumbers):
        n = part.numbers
        age = f"{n.age.p50:.1f} / {n.age.p95:.1f} / {n.age.p99:.1f}" if n.age else MISSING
        lost = {k: v for k, v in {**n.dropped, **n.skipped}.items() if v}
        causes = "".join(f", {count} {cause}" for cause, count in lost.items())
        lines += [
            f"  images/s         {n.rate_sent:.1f} sent of {n.rate_asked:.1f} asked, "
            f"{n.rate_masks:.1f} masks/s",
            f"  images           {n.published} published = {n.processed} processed{causes}, "
            f"{n.lost_before} lost in transport",
            f"  masks            {n.masks} at the reader, {n.lost_behind} lost in transport",
            f"  age p50/95/99    {age} ms; p99 limit {n.age_limit:.1f} = 2 x inference "
            f"{n.inference:.1f} + transport {n.transport:.1f}",
        ]
        if n.warm is not None and n.memory_growth is not None:
            lines.append(
                f"  memory           {n.warm.resident:.0f} -> {n.end.resident:.0f} MB "
                f"({n.memory_growth:+.1%}), private {n.warm.private:.0f} -> {n.end.private:.0f} MB"
            )
    return lines + _reasons(part)


def _latency_lines(parts: list[Part]) -> list[str]:
    head = f"{'send to mask, ms':<38}{'p50':>8}{'p95':>8}{'p99':>8}{'x bare':>8}{'masks':>12}"
    lines = [head]
    for part in parts:
        if isinstance(part.numbers, LatencyNumbers) and part.numbers.send_to_mask is not None:
            n, way = part.numbers, part.numbers.send_to_mask
            lines.append(
                f"  {part.title:<36}{way.p50:>8.1f}{way.p95:>8.1f}{way.p99:>8.1f}{n.ratio:>8.2f}"
                f"{f'{n.masks} of {n.sent}':>12}"
            )
        else:
            lines.append(f"  {part.title:<36}{part.not_offered or part.verdict}")
        lines += _reasons(part)
    return lines


def _fault_lines(parts: list[Part]) -> list[str]:
    lines = [f"{'fault':<38}{'verdict':<13}{'memory, MB':<14}{'threads':<12}descriptors"]
    for part in parts:
        row = f"  {part.title:<36}{part.verdict:<13}"
        if isinstance(part.numbers, FaultNumbers):
            before, after = part.numbers.before, part.numbers.after
            row += f"{f'{before.resident:.0f} -> {after.resident:.0f}':<14}"
            row += f"{f'{before.threads} -> {after.threads}':<12}"
            row += f"{before.descriptors} -> {after.descriptors}"
            if part.numbers.measured:
                found = (f"{k.replace('_', ' ')} {v:g}" for k, v in part.numbers.measured.items())
                row += f"\n      {', '.join(found)}"
        else:
            row += part.not_offered
        lines += [row.rstrip(), *_reasons(part)]
    return lines


def _reasons(part: Part) -> list[str]:
    """Why a part failed, indented."""
    lines = [line for reason in part.reasons for line in reason.splitlines()]
    return [f"      {line}" for line in lines]
