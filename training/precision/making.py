"""From the bench to files that passed the gate: fp16, int8 for CPUs, int8 for TensorRT."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from tqdm import tqdm

from anomaly_seg_ros.backends import load_runner
from training.benchmark.machine import describe_machine
from training.precision.errors import PrecisionError
from training.precision.graphs import first_and_last
from training.precision.half import mixed_precision
from training.precision.int8 import Block, Calibrated, blocks, calibrate, quantized
from training.precision.parity import Parity, with_files
from training.precision.ranges import measure_ranges, report_lines
from training.precision.sensitivity import Damage, damage, fewest, worst_first
from training.precision.speed import Cost, in_turn
from training.precision.workbench import Workbench

MIN_SPEEDUP = 1.2  # below that, int8 on a CPU is not worth its errors
SPEED_RUNS = 30
SEARCH_FRAMES = 6
SAME = 0.98  # forms within 2 % are equally fast; the standard one is taken then

Say = Callable[[str], None]


@dataclass(frozen=True)
class Made:
    """Files of one precision for one target, which passed; parity: for bundle.yaml, by stage."""

    files: Mapping[str, Path]
    parity: Mapping[str, Mapping[str, Any]]


def make_half(bench: Workbench, say: Say) -> Made:
    """fp16 with fp32 islands, for any target. Raises PrecisionError beyond the gate."""
    graphs, notes = {}, {}
    for stage in bench.bundle.stages:
        model = bench.gpu_graph(stage.name)
        ranges = measure_ranges(model, bench.feeds(stage))
        mixed = mixed_precision(model, ranges)
        say("\n".join(report_lines(stage.name, ranges)))
        say(
            f"  {len(mixed.halves)} of {len(model.graph.node)} nodes in fp16, {mixed.casts} casts; "
            f"kept in fp32 for their range: {', '.join(mixed.named) or 'none'}"
        )
        graphs[stage.name] = mixed.model
        notes[stage.name] = {
            "nodes_fp16": len(mixed.halves),
            "casts": mixed.casts,
            "max_abs": round(max(entry.max_abs for entry in ranges.values()), 2),
            "kept_for_range": dict(mixed.named),
        }
    parity = bench.measure(graphs, "fp16")
    _refuse_beyond_gate("fp16", parity, bench)
    say(f"fp16: {_measured(parity)}")
    return _made(bench, graphs, "fp16", parity, notes)


def make_cpu_int8(bench: Workbench, say: Say, *, min_speedup: float = MIN_SPEEDUP) -> Made:
    """uint8 activations, int8 weights per channel, for ONNX Runtime's CPU, in the faster of its
    two forms. Raises PrecisionError beyond the gate, and where it is no `min_speedup` faster."""
    choice = _choose_blocks(bench, "qdq", say)
    forms = {form: choice.graphs(form) for form in ("qdq", "qoperator")}
    cost = _race(bench, forms)
    fastest = "qoperator" if cost["qoperator"].cpu < SAME * cost["qdq"].cpu else "qdq"
    ratio = cost["fp32"].cpu / cost[fastest].cpu
    told = ", ".join(f"{name} {each.cpu:.1f} ms" for name, each in cost.items())
    say(f"one thread, CPU time: {told}: {ratio:.2f} x fp32 on {describe_machine()['processor']}")
    parity = choice.parity if fastest == "qdq" else bench.measure(forms[fastest], "int8")
    _refuse_beyond_gate("int8", parity, bench)
    say(f"int8 for ONNX Runtime on CPUs ({fastest}): {_measured(parity)}")
    if ratio < min_speedup:
        raise PrecisionError(
            f"int8 for onnxruntime-cpu is {ratio:.2f} times as fast as fp32 ({told}), expected "
            f"{min_speedup:g} or more: {_measured(parity)}; keep fp32, or lower --min-speedup"
        )
    speed = {
        "form": fastest,
        "speedup": round(ratio, 2),
        "speedup_of": f"CPU time on one thread of {describe_machine()['processor']}",
    }
    return _made(bench, forms[fastest], "int8.cpu", parity, choice.notes(speed))


def make_tensorrt_int8(bench: Workbench, say: Say) -> Made:
    """Signed, symmetric quantise and dequantise pairs for TensorRT, measured in ONNX Runtime.
    Raises PrecisionError beyond the gate."""
    choice = _choose_blocks(bench, "tensorrt", say)
    _refuse_beyond_gate("int8", choice.parity, bench)
    say(f"int8 for TensorRT, in ONNX Runtime: {_measured(choice.parity)}")
    graphs = choice.graphs("tensorrt")
    return _made(bench, graphs, "int8.tensorrt", choice.parity, choice.notes({"form": "qdq"}))


@dataclass(frozen=True)
class _Choice:
    """Which blocks of each stage are quantised, and what that does."""

    calibrated: Mapping[str, Calibrated]
    all_blocks: Mapping[str, Sequence[Block]]
    kept: Mapping[str, Collection[str]]  # stage -> names of blocks in fp32
    parity: Parity
    pictures: str

    def graphs(self, form: str) -> dict[str, onnx.ModelProto]:
        return _graphs(self.calibrated, self.all_blocks, self.kept, form)

    def notes(self, more: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        return {
            stage: {
                "blocks_int8": len(found) - len(self.kept[stage]),
                "blocks": len(found),
                "kept_fp32": sorted(self.kept[stage]),
                "calibrated_on": self.pictures,
                **more,
            }
            for stage, found in self.all_blocks.items()
        }


def _choose_blocks(bench: Workbench, form: str, say: Say) -> _Choice:
    """All blocks but first and last ones; where that fails the gate, those that hurt most, as few
    as possible, stay in fp32 too."""
    stages = bench.bundle.stages
    graph = bench.gpu_graph if form == "tensorrt" else bench.graph
    calibrated = {stage.name: calibrate(graph(stage.name), bench.feeds(stage)) for stage in stages}
    found = {name: blocks(entry.model) for name, entry in calibrated.items()}
    ends = {stage.name: first_and_last(graph(stage.name), bench.heads(stage)) for stage in stages}
    ends = {name: ends[name] & {block.name for block in found[name]} for name in found}
    ranked: list[Damage] = []
    tried: dict[int, Parity] = {}

    def kept(count: int) -> dict[str, set[str]]:
        hurt = ranked[:count]
        return {s: ends[s] | {d.block.name for d in hurt if d.stage == s} for s in found}

    def passes(count: int) -> bool:
        if count and not ranked:
            say(f"int8 with heads in fp32: {_measured(tried[0])}: looking for what hurts")
            ranked.extend(_rank(bench, calibrated, found, ends, form))
            for entry in ranked[:5]:
                say(f"  {entry.stage} {entry.block.name}: {entry.share:.2f} of what is allowed")
        graphs = _graphs(calibrated, found, kept(count), form)
        tried[count] = bench.measure(graphs, "int8")
        return not tried[count].faults(bench.score_range)

    candidates = sum(len(found[name]) - len(ends[name]) for name in found)
    if candidates == 0:
        raise PrecisionError(
            "int8 is refused: there is no convolution between the first and the last one of a "
            "stage, and those stay in fp32"
        )
    count = fewest(candidates, passes)
    if count is None or count == candidates:
        raise PrecisionError(
            f"int8 is refused whatever stays in fp32; with all but first and last blocks in int8: "
            f"{'; '.join(tried[0].faults(bench.score_range))} ({_measured(tried[0])}): train with "
            "quantisation in mind, or keep fp32"
        )
    pictures = f"{len(bench.pictures.readers)} frames of {bench.pictures.title}"
    return _Choice(calibrated, found, kept(count), tried[count], pictures)


def _rank(
    bench: Workbench,
    calibrated: Mapping[str, Calibrated],
    found: Mapping[str, Sequence[Block]],
    ends: Mapping[str, Collection[str]],
    form: str,
) -> list[Damage]:
    """Every block quantised alone, the most damaging first."""
    inner = [
        (stage, block) for stage in found for block in found[stage] if block.name not in ends[stage]
    ]
    damages = []
    for stage, block in tqdm(inner, desc="one block at a time"):
        graph = quantized(calibrated[stage], [block], form)
        parity = bench.measure({stage: graph}, "int8", first=SEARCH_FRAMES)
        damages.append(Damage(stage, block, damage(parity, bench.score_range)))
    return worst_first(damages)


def _graphs(
    calibrated: Mapping[str, Calibrated],
    found: Mapping[str, Sequence[Block]],
    kept: Mapping[str, Collection[str]],
    form: str,
) -> dict[str, onnx.ModelProto]:
    return {
        stage: quantized(entry, [b for b in found[stage] if b.name not in kept[stage]], form)
        for stage, entry in calibrated.items()
    }


def _race(bench: Workbench, forms: Mapping[str, Mapping[str, onnx.ModelProto]]) -> dict[str, Cost]:
    """fp32 and each form in turn, one thread each."""
    runners = {"fp32": bench.runner}
    for form, graphs in forms.items():
        trial = with_files(bench.bundle, bench.write(graphs, form), "int8")
        runners[form] = load_runner(trial, "onnxruntime", "cpu", "int8", 1)
    try:
        return in_turn(runners, bench.images[0], SPEED_RUNS)
    finally:
        for form in forms:
            runners[form].close()


def _refuse_beyond_gate(precision: str, parity: Parity, bench: Workbench) -> None:
    if faults := parity.faults(bench.score_range):
        raise PrecisionError(f"{precision} is refused: {'; '.join(faults)} ({_measured(parity)})")


def _measured(parity: Parity) -> str:
    """What a refusal and a success both say."""
    ap = "" if parity.ap is None else f", AP {parity.ap:.4f} (fp32 {parity.ap_fp32:.4f})"
    return (
        f"{parity.frames} frames of {parity.data}: label agreement {parity.label_agreement:.4f}, "
        f"score error {parity.score_mean_error:.2g} mean, {parity.score_max_error:.2g} max{ap}"
    )


def _made(
    bench: Workbench,
    graphs: Mapping[str, onnx.ModelProto],
    label: str,
    parity: Parity,
    notes: Mapping[str, Mapping[str, Any]],
) -> Made:
    entries = {stage: {**parity.entry(), **notes[stage]} for stage in graphs}
    return Made(bench.write(graphs, label), entries)
