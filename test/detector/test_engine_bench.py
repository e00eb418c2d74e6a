"""`anomaly-seg bench`: the engine's table and numbers, and the node's options."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anomaly_seg_ros.backends import Runner, RunnerInfo, RunResult
from anomaly_seg_ros.backends.onnxruntime_backend import OnnxRuntimeRunner
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.detector import Detection, Detector
from anomaly_seg_ros.engine_bench import ROUND, measure_engines, report_lines


def test_the_engine_bench_prints_every_step_and_writes_the_same_numbers(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "engine.json"
    options = ["--frames", "6", "--warmup", "1", "--threads", "1", "--size", "64x96"]
    options += ["--bundle", str(bundle.folder), "--json", str(file)]
    assert main(["bench", "engine", *options]) == 0
    shown = capsys.readouterr().out
    report = json.loads(file.read_text())
    engine = report["engines"][0]
    steps = ["fit", "segmentation", "observer", "run", "finish", "total"]
    assert list(engine["steps"]) == steps
    for name, step in engine["steps"].items():
        assert 0 < step["p50"] <= step["p95"] <= step["p99"]
        line = next(line for line in shown.splitlines() if line.split()[:1] == [name])
        assert f"{step['p50']:.2f}" in line
    assert report["camera"] == [64, 96] and engine["network"] == [64, 128]
    assert engine["runner"]["threads"] == 1 and report["frames"] == 6
    assert engine["cpu"] > 0 and report["resident_megabytes"] > 1
    inner = sum(engine["steps"][name]["p50"] for name in ("fit", "finish"))
    assert engine["own_share"] == pytest.approx(inner / engine["steps"]["run"]["p50"])
    assert engine["ratio"] == {"median": 1, "low": 1, "high": 1}
    assert report["after"]["cores"] == len(os.sched_getaffinity(0))
    assert "run / first" not in shown  # there is nothing to compare with


def test_only_what_is_wanted_is_measured(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engine.json"
    options = ["--size", "64x64", "--frames", "2", "--warmup", "1", "--wanted", "labels"]
    options += ["--bundle", str(bundle.folder), "--json", str(file)]
    assert main(["bench", "engine", *options]) == 0
    assert "observer" not in json.loads(file.read_text())["engines"][0]["steps"]


def test_several_engines_take_turns_and_each_has_its_row(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engine.json"
    options = ["--size", "64x64", "--frames", "13", "--warmup", "1", "--threads", "1"]
    options += ["--engines", "onnxruntime:fp32,auto@cpu,onnxruntime"]  # the last is the first
    options += ["--bundle", str(bundle.folder), "--json", str(file)]
    assert main(["bench", "engine", *options]) == 0
    shown = capsys.readouterr().out
    report = json.loads(file.read_text())
    assert [engine["name"] for engine in report["engines"]] == [
        "onnxruntime:fp32",
        "auto:fp32@cpu",
    ]
    table = shown[shown.index("\nengine ") :].splitlines()
    for engine, line in zip(report["engines"], table[2:4], strict=True):
        cells = line.split()
        assert cells[0] == engine["name"]
        assert cells[1] == f"{engine['steps']['total']['p50']:.2f}"
        assert cells[6] == f"{engine['ratio']['median']:.3f}"
        low, median, high = (engine["ratio"][key] for key in ("low", "median", "high"))
        assert 0 < low <= median <= high
    assert report["engines"][0]["ratio"]["high"] == 1


def test_rounds_of_engines_alternate_and_every_frame_is_measured_once(bundle: Bundle) -> None:
    turns: list[str] = []
    with (
        Counted(bundle, "onnxruntime", threads=1) as first,
        Counted(bundle, "onnxruntime", threads=1) as second,
    ):
        first.turns, second.turns = (turns, "a"), (turns, "b")
        images = [np.zeros((64, 128, 3), np.uint8)]
        report = measure_engines(
            {"a": first, "b": second}, images, ("labels",), frames=2 * ROUND + 1, warmup=2
        )
    lead = 1  # frame that brings the caches back
    expected = ["a"] * 2 + ["b"] * 2
    for order, count in (("ab", ROUND), ("ba", ROUND), ("ab", 1)):
        for name in order:
            expected += [name] * (lead + count)
    assert turns == expected and report.frames == 2 * ROUND + 1


class Counted(Detector):
    """A detector that notes when it is used: in a list, by a name."""

    turns: tuple[list[str], str]

    def __enter__(self) -> Counted:
        return self

    def detect(
        self, images: Sequence[np.ndarray] | np.ndarray, wanted: Sequence[str] = ()
    ) -> list[Detection]:
        noted, name = self.turns
        noted.append(name)
        return super().detect(images, wanted)


def test_upload_and_download_stand_before_and_behind_the_stages(bundle: Bundle) -> None:
    with Detector(bundle, "onnxruntime", threads=1) as detector:
        detector.runner = OnDevice(detector.runner)
        images = [np.zeros((64, 128, 3), np.uint8)]
        report = measure_engines({"gpu": detector}, images, ("score",), frames=3, warmup=1)
    steps = report.engines[0].steps
    assert list(steps)[:5] == ["fit", "upload", "segmentation", "observer", "download"]
    assert steps["upload"].p50 == pytest.approx(2.0)
    assert any(line.startswith("  download") for line in report_lines(report))


class OnDevice(Runner):
    """A runner as of a device: it tells what moving tensors took."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        result = self.inner.run(image, wanted)
        stages = {k: v for k, v in result.seconds.items() if k != "total"}
        seconds = {"upload": 0.002, **stages, "download": 0.001}
        return RunResult(result.arrays, seconds | {"total": result.seconds["total"] + 0.003})

    def warmup(self, runs: int = 2) -> float:
        return self.inner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return self.inner.describe()

    def close(self) -> None:
        self.inner.close()


def test_stages_are_profiled_when_they_are_asked_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    run = OnnxRuntimeRunner.run

    def watched(self: OnnxRuntimeRunner, *arguments: Any) -> RunResult:
        seen.append(self.profiling)
        return run(self, *arguments)

    monkeypatch.setattr(OnnxRuntimeRunner, "run", watched)
    options = ["--size", "64x64", "--frames", "1", "--warmup", "1", "--bundle", str(bundle.folder)]
    assert main(["bench", "engine", *options]) == 0
    assert main(["bench", "engine", *options, "--per-stage"]) == 0
    assert seen == [False, False, True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engines", "onnxruntime,caffe"], "unknown backend 'caffe'"),
        (["--engines", "onnxruntime,"], "expected BACKEND[:PRECISION][@DEVICE]"),
        (["--engines", "onnxruntime", "--precision", "int8"], "name all of it in --engines"),
    ],
)
def test_engines_that_are_none_are_one_clear_error(
    options: list[str], message: str, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "engine", "--bundle", str(bundle.folder), *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("size", ["480", "480x", "axb", "8x8", "-480x640"])
def test_a_camera_size_that_is_none_is_refused(
    size: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "engine", f"--size={size}"])
    assert caught.value.code == 2
    assert "--size" in capsys.readouterr().err


def test_an_unknown_output_is_one_clear_error(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(
            [
                "bench",
                "engine",
                "--bundle",
                str(bundle.folder),
                "--size",
                "64x64",
                "--wanted",
                "depth",
            ]
        )
        == 2
    )
    assert "error: bundle tiny makes no depth" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_one_clear_error(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--size", "64x64", "--frames", "1", "--warmup", "1", "--json", str(tmp_path)]
    assert main(["bench", "engine", "--bundle", str(bundle.folder), *options]) == 2
    assert f"error: cannot write {tmp_path}" in capsys.readouterr().err


def test_help_of_the_node_bench_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "node", "--help"])
    assert caught.value.code == 0
    assert "--rate" in capsys.readouterr().out
