"""`anomaly-seg detect` from the command line: results, messages, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import make_recordings as made
import numpy as np
import pytest
from tiny_bundle import write_resynthesis_bundle, write_tiny_bundle

from anomaly_seg_ros.cli.main import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    return str(write_tiny_bundle(folder, height=48, width=96))


def detect(path: Path | str, out: Path, bundle: str, *more: str) -> int:
    return main(["detect", str(path), "--out", str(out), "--bundle", bundle, *more])


def test_images_leave_overlays_scores_masks_and_a_report_but_no_film(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    assert detect(images, tmp_path / "out", bundle) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"overlays", "scores", "masks", "manifest.jsonl", "report.json"}
    assert "2 frames done, 0 unreadable, 2 with an anomaly" in capsys.readouterr().out


def test_synthesis_and_panels_are_written_when_they_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    folder = str(write_resynthesis_bundle(tmp_path / "bundle", height=48, width=96))
    assert detect(images, tmp_path / "out", folder, "--save", "panels,synthesis") == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"panels", "synthesis", "manifest.jsonl", "report.json"}
    for name in ("panels", "synthesis"):
        written = sorted(path.name for path in (tmp_path / "out" / name).iterdir())
        assert written == ["road_0.png", "road_1.png"]
    assert "2 frames done" in capsys.readouterr().out


def test_recordings_with_a_rate_leave_a_film_too(tmp_path: Path, bundle: str) -> None:
    assert detect(made.image_bag(tmp_path / "bag"), tmp_path / "out", bundle) == 0
    assert (tmp_path / "out" / "overlay.mp4").stat().st_size > 0


def test_options_reach_the_detector_and_the_report(tmp_path: Path, bundle: str) -> None:
    images = made.write_folder(tmp_path / "images", 4)
    region = np.zeros((made.HEIGHT, made.WIDTH), np.uint8)
    region[made.BLOCK] = 255
    region_file = made.write_image(tmp_path / "region.png", region)
    out = tmp_path / "out"
    options = ["--save", "mask,score,labels", "--every", "2", "--limit", "1", "--threads", "1"]
    options += ["--threshold", "0.25", "--region", str(region_file), "--focus", "everywhere"]
    options += ["--score-format", "npz", "--backend", "onnxruntime", "--operating-point", "strict"]
    assert detect(images, out, bundle, *options) == 0
    settings = json.loads((out / "report.json").read_text())["settings"]
    assert settings["threshold"] == 0.25
    assert settings["operating_point"] == "strict"
    assert settings["region"]
    assert [path.name for path in (out / "scores").glob("*.npz")] == ["road_0.npz"]
    assert not (out / "overlays").exists()


def test_other_settings_in_the_same_folder_are_refused_unless_overwritten(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 1)
    out = tmp_path / "out"
    assert detect(images, out, bundle) == 0
    assert detect(images, out, bundle, "--threshold", "0.9") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert detect(images, out, bundle, "--threshold", "0.9", "--overwrite") == 0


def test_unreadable_frames_are_named_on_the_screen(
    tmp_path: Path, bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    images = made.write_folder(tmp_path / "images", 2)
    (images / "road_1.png").write_bytes(b"")
    assert detect(images, tmp_path / "out", bundle) == 0
    printed = capsys.readouterr()
    assert "1 unreadable" in printed.out
    assert "road_1.png" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mp4"], "does not exist"),
        (["images", "--bundle", "nowhere"], "nowhere"),
        (["images", "--backend", "magic"], "magic"),
        (["images", "--operating-point", "best"], "best"),
        (["images", "--region", "nowhere.png"], "nowhere.png"),
        (["images", "--save", "film"], "film"),
        (
            ["images", "--save", "mask,synthesis"],
            "bundle tiny makes only logits, labels, features_4",
        ),
        (["images", "--fps", "0"], "--fps"),
        (["images", "--score-range", "1", "0"], "low < high"),
        (["images", "--topic", "/cam"], "has no topics"),
        (["images", "--threshold", "nan"], "finite"),
    ],
)
def test_mistakes_are_one_error_line_and_exit_code_2(
    tmp_path: Path,
    bundle: str,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made.write_folder(tmp_path / "images", 1)
    monkeypatch.chdir(tmp_path)
    defaults = [] if "--bundle" in arguments else ["--bundle", bundle]
    assert main(["detect", *arguments, "--out", "out", *defaults]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out" / "masks").exists()


INTERRUPTED = """
import os, signal, sys
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.detector import Detector

calls, detect = 0, Detector.detect

def detect_until_ctrl_c(self, *args):
    global calls
    calls += 1
    if calls == 12:
        os.kill(os.getpid(), signal.SIGINT)  # what Ctrl-C does
    return detect(self, *args)

Detector.detect = detect_until_ctrl_c
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs start with it ignored
sys.exit(main(sys.argv[1:]))
"""


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_does_the_rest(
    tmp_path: Path, bundle: str
) -> None:
    bag = made.image_bag(tmp_path / "bag", 20)
    out = tmp_path / "out"
    arguments = ["detect", str(bag), "--out", str(out), "--bundle", bundle, "--threads", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    stopped = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert stopped.returncode == 130, stopped.stderr
    assert "the same command again does the rest" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    lines = (out / "manifest.jsonl").read_text().splitlines()
    noted = [json.loads(line)["name"] for line in lines[1:]]
    assert noted == [f"{number:06d}" for number in range(11)]
    assert set(noted) == {path.stem for path in (out / "masks").glob("*.png")}
    assert main(arguments) == 0
    assert len(list((out / "masks").glob("*.png"))) == 20
