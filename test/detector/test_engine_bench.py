"""`anomaly-seg bench`: the engine's table and numbers, and the node's options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.cli.main import main


def test_the_engine_bench_prints_every_step_and_writes_the_same_numbers(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "engine.json"
    options = ["--frames", "6", "--warmup", "1", "--threads", "1", "--size", "64x96"]
    options += ["--bundle", str(bundle.folder), "--json", str(file)]
    assert main(["bench", "engine", *options]) == 0
    shown = capsys.readouterr().out
    report = json.loads(file.read_text())
    steps = ["fit", "segmentation", "observer", "run", "finish", "total"]
    assert list(report["steps"]) == steps
    for name, step in report["steps"].items():
        assert 0 < step["p50"] <= step["p95"] <= step["p99"]
        line = next(line for line in shown.splitlines() if line.split()[:1] == [name])
        assert f"{step['p50']:.2f}" in line
    assert report["camera"] == [64, 96] and report["network"] == [64, 128]
    assert report["runner"]["threads"] == 1 and report["frames"] == 6
    assert report["cpu"] > 0 and report["resident_megabytes"] > 1
    inner = sum(report["steps"][name]["p50"] for name in ("fit", "finish"))
    assert report["own_share"] == pytest.approx(inner / report["steps"]["run"]["p50"])


def test_only_what_is_wanted_is_measured(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engine.json"
    options = ["--size", "64x64", "--frames", "2", "--warmup", "1", "--wanted", "labels"]
    options += ["--bundle", str(bundle.folder), "--json", str(file)]
    assert main(["bench", "engine", *options]) == 0
    assert "observer" not in json.loads(file.read_text())["steps"]


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
