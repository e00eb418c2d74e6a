"""What an evaluation leaves behind: results.json, results.md, frames.csv, plots, examples."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from anomaly_seg_ros.replay.writers import png_bytes, write_atomically

FRAMES = "frames.csv"
PLOTS = {  # file name -> what it shows
    "latency.svg": "latency over time and its distribution",
    "curves.svg": "score distribution, precision over recall, ROC",
}
LISTED = 20  # names of a list that results.md and the screen show


@dataclass(frozen=True)
class FrameScores:
    """One line of frames.csv. ap and max_score are None where there is nothing to state."""

    name: str
    ap: float | None
    anomaly_pixels: int
    known_pixels: int
    max_score: float | None
    false_regions: int
    found: float | None  # share of the anomaly's pixels that the mask covers


def write_report(
    out: Path,
    results: Mapping[str, Any],
    rows: Iterable[FrameScores],
    plots: Mapping[str, str],
    examples: Mapping[str, Sequence[tuple[str, np.ndarray]]],
    *,
    title: str = "",
    table: Sequence[tuple[str, str]] = (),
) -> None:
    """Write all result files below `out`; what an earlier report left there goes.

    results: with the accuracy numbers of Scoring.results, or without them (a replay without
    labels). rows: lines of frames.csv. plots: file name -> SVG text, of PLOTS. examples: best and
    worst -> (name, overlay) by rank. title, table: what results.md has before the input's name and
    before the accuracy.
    """
    for old in (out / "examples").glob("*.png"):
        if re.match("(best|worst)_[0-9]+_", old.name):
            old.unlink()
    for name in (FRAMES, *PLOTS):
        (out / name).unlink(missing_ok=True)
    pictures = []
    for kind, entries in examples.items():
        for rank, (name, overlay) in enumerate(entries, start=1):
            path = f"examples/{kind}_{rank}_{name}.png"
            write_atomically(out / path, png_bytes(overlay))
            pictures.append((f"{kind} {rank}: {name}", path))
    for name, text in plots.items():
        write_atomically(out / name, text.encode())
    if is_scored(results):
        write_atomically(out / FRAMES, _bytes(_frames_csv(rows)))
    write_atomically(
        out / "results.md", _bytes(_results_md(results, title, table, plots, pictures))
    )
    text = json.dumps(results, indent=1, allow_nan=False) + "\n"
    write_atomically(out / "results.json", text.encode())


def is_scored(results: Mapping[str, Any]) -> bool:
    """Whether results hold accuracy numbers: there were labels."""
    return "at_operating_point" in results


def _bytes(text: str) -> bytes:
    return text.encode(errors="backslashreplace")  # file names need not be UTF-8


def summary_lines(results: Mapping[str, Any]) -> list[str]:
    """The results in a few lines for a terminal."""
    point = results["at_operating_point"]
    counts = f"{results['positives']} anomalous, {results['negatives']} known pixels"
    lines = [f"{results['frames']} frames ({counts})"]
    if results["ap"] is None:
        lines.append(f"no AP, AUROC, FPR95: {results['reason_for_null']}")
    else:
        scores = (f"{name} {_percent(results[key])}" for name, key in _SCORES)
        lines.append("   ".join(scores))
    lines.append(
        f"at {point['name']} (threshold {_number(point['threshold'], 4)}): recall"
        f" {_percent(point['recall'])}, precision {_percent(point['precision'])},"
        f" {_number(point['false_regions_per_frame'])} false regions a frame"
    )
    return lines


_SCORES = (("AP", "ap"), ("AUROC", "auroc"), ("FPR95", "fpr95"))


def _frames_csv(rows: Iterable[FrameScores]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(entry.name for entry in fields(FrameScores))
    for row in rows:
        writer.writerow("" if value is None else value for value in asdict(row).values())
    return stream.getvalue()


def _results_md(
    results: Mapping[str, Any],
    title: str,
    table: Sequence[tuple[str, str]],
    plots: Mapping[str, str],
    pictures: Sequence[tuple[str, str]],
) -> str:
    scored = is_scored(results)
    head = f"{title}{Path(results['input']['path']).name}"
    if not title:
        head = f"{results['bundle']} on {head}"
    lines = [f"# {head}", "", "| | |", "|---|---|"]
    rows = [*([("bundle", results["bundle"])] if title else []), *table]
    rows += _accuracy_rows(results) if scored else []
    lines += [f"| {name} | {value} |" for name, value in rows]
    if scored:
        lines += [
            "",
            "Scores are taken at camera size over the pooled pixels of all frames; void pixels"
            f" (255) do not count. Single frames: [{FRAMES}]({FRAMES}).",
            "",
            f"Pairing: {results['pairing']}. Label values: {results['label_map']}.",
        ]
        if results["reason_for_null"]:
            lines += [
                "",
                f"AP, AUROC and FPR95 are not defined here: {results['reason_for_null']}.",
            ]
    for name, entries in problem_lists(results):
        lines += ["", f"## {name} ({len(entries)})", ""]
        lines += [f"- {entry}" for entry in entries[:LISTED]]
        if len(entries) > LISTED:
            lines.append(f"- ... and {len(entries) - LISTED} more, see results.json")
    for name, shown in PLOTS.items():
        if name in plots:
            lines += ["", f"![{shown}]({name})"]
    if pictures:
        lines += [
            "",
            "Frames of highest and lowest AP; labelled anomalies have a cyan outline.",
        ]
    for name, path in pictures:
        lines += ["", name, "", f"![{name}](<{path}>)"]
    return "\n".join(lines) + "\n"


def _accuracy_rows(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    point = results["at_operating_point"]
    rows = [("labelled frames", str(results["frames"]))]
    rows += [
        (name, f"{_percent(results[key])} (error at most {results[key + '_error']:.1e})")
        for name, key in _SCORES
        if results[key] is not None
    ]
    return [
        *rows,
        ("anomalous / known pixels", f"{results['positives']} / {results['negatives']}"),
        ("operating point", f"{point['name']}, threshold {_number(point['threshold'], 6)}"),
        ("recall", _percent(point["recall"])),
        ("precision", _percent(point["precision"])),
        ("false positive rate", _percent(point["false_positive_rate"])),
        (
            f"false regions of {point['false_region_min_pixels']} pixels or more",
            f"{point['false_regions']}, {_number(point['false_regions_per_frame'])} a frame",
        ),
    ]


def problem_lists(results: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What did not go as it should: title -> entries, empty ones left out."""
    bad = [f"{frame['name']}: {frame['reason']}" for frame in results["bad_frames"]]
    lists = [
        ("Warnings", results["warnings"]),
        ("Unreadable frames", bad),
        ("Frames without a label", results.get("unpaired_frames", [])),
        ("Labels without a frame", results.get("unpaired_labels", [])),
    ]
    return [(title, names) for title, names in lists if names]


def problem_lines(results: Mapping[str, Any]) -> list[str]:
    """The same for a terminal, each list cut to LISTED."""
    lines = []
    for title, names in problem_lists(results):
        lines += [f"{title} ({len(names)}):", *(f"  {name}" for name in names[:LISTED])]
        if len(names) > LISTED:
            lines.append(f"  ... and {len(names) - LISTED} more, see results.json")
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}g}"
