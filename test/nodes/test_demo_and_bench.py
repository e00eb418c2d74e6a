"""Demo and bench around the real detector process, with the tiny bundle."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import pytest

from anomaly_seg_ros.cli import demo
from anomaly_seg_ros.cli.main import build_parser, main
from anomaly_seg_ros.errors import AnomalySegError, NodeError
from anomaly_seg_ros.nodes import bench
from anomaly_seg_ros.replay.sources import Frame, open_source


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Demo and bench set variables for themselves; the other tests keep theirs."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


def demo_arguments(out: Path, *more: str) -> argparse.Namespace:
    return build_parser().parse_args(["demo", "--out", str(out), "--rate", "100", *more])


def test_the_demo_leaves_numbers_pictures_film_and_bag(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    assert demo.run(demo_arguments(out, "--frames", "6", "--bundle", str(tiny))) == 0
    results = json.loads((out / "results.json").read_text())
    assert results["frames"] == 6 and results["bundle"] == "tiny"
    assert results["rate"] > 0 and results["camera_to_mask"]["p50"] > 0
    assert 0 <= results["ap"] <= 1 and 0 <= results["fpr95"] <= 1

    sheet = cv2.imread(str(out / "contact_sheet.png"))
    assert sheet is not None and sheet.shape[1] > 1000
    assert len(list((out / "overlays").glob("*.png"))) == 6
    film = cv2.VideoCapture(str(out / "overlay.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    with open_source(out / "bag", topic="/camera/image/compressed") as source:
        frames = list(source)
    assert len(frames) == 6 and all(isinstance(frame, Frame) for frame in frames)

    printed = capsys.readouterr().out
    assert "6 camera images answered" in printed
    assert "Look here:" in printed and str(out / "contact_sheet.png") in printed


def test_a_bundle_that_is_none_is_one_error_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["demo", "--out", str(tmp_path / "demo"), "--bundle", str(tmp_path / "none")])
    assert code == 2
    assert capsys.readouterr().err.startswith("error: no bundle")
    assert not (tmp_path / "demo").exists()


def test_a_detector_that_dies_is_told_with_its_last_lines_and_leaves_nothing(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The detector's Python finds a broken onnxruntime first and ends while configuring."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "onnxruntime.py").write_text("import os\nprint('no engine today')\nos._exit(3)\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(NodeError, match=r"ended with status 3(.|\n)*configure 2/3"):
        demo.run(demo_arguments(tmp_path / "demo", "--frames", "2", "--bundle", str(tiny)))
    assert list((tmp_path / "demo").iterdir()) == []


@pytest.mark.parametrize("wrong", [["--rate", "0"], ["--seed", "-1"]])
def test_the_demo_refuses_what_it_cannot_do(tiny: Path, tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(AnomalySegError, match="expected"):
        demo.run(demo_arguments(tmp_path / "demo", "--bundle", str(tiny), *wrong))


def test_the_bench_reports_rate_latency_cost_and_memory(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "WARMUP_SECONDS", 0.5)
    monkeypatch.setattr(bench, "STRAGGLERS", 0.5)
    arguments = ["bench", "node", "--bundle", str(tiny), "--size", "120x160"]
    arguments += ["--seconds", "1", "--rate", "10", "--json", str(tmp_path / "numbers.json")]
    assert main(arguments) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["sent"] == 10
    assert numbers["received"] + sum(numbers["dropped"].values()) + numbers["lost"] == 10
    assert numbers["camera_to_mask"]["p50"] >= numbers["in_node"]["p50"] > 0
    assert numbers["cpu_engine"] > 0 and numbers["cpu_own"] > 0 and numbers["cpu_transport"] > 0
    assert 50 < numbers["resident_megabytes"] < 1500
    printed = capsys.readouterr().out
    assert "camera message in to mask out" in printed and "of Runner.run" in printed


@pytest.mark.slow
def test_the_bench_of_several_cameras_compares_one_process_with_one_for_each(
    tiny: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench, "WARMUP_SECONDS", 0.5)
    monkeypatch.setattr(bench, "STRAGGLERS", 0.5)
    arguments = ["bench", "node", "--bundle", str(tiny), "--size", "120x160", "--cameras", "2"]
    arguments += ["--seconds", "1", "--rate", "10", "--json", str(tmp_path / "numbers.json")]
    assert main(arguments) == 0
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["cameras"], numbers["one"]["processes"], numbers["many"]["processes"]) == (
        2,
        1,
        2,
    )
    for run in (numbers["one"], numbers["many"]):
        assert run["sent"] == 20 and 0 < run["received"] <= 20
        assert 0 < run["p50"] <= run["p95"] and run["masks_per_second"] > 0
        assert run["cpu_per_mask"] > 0
    assert numbers["one"]["resident_megabytes"] < numbers["many"]["resident_megabytes"]
    printed = capsys.readouterr().out
    assert "2 processes" in printed and "masks per second" in printed
