"""`anomaly-seg parity`: exit codes, the page, JSON, pictures, errors for people."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from broken_graphs import MakeBundle, set_constant
from tiny_bundle import observer_graph, write_tiny_bundle

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.cli.main import main


@pytest.fixture
def quick(tmp_path: Path) -> list[str]:
    """Options for two small pictures with cyan in them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    image = np.full((64, 128, 3), 90, np.uint8)
    image[16:32, 32:48] = (220, 200, 0)  # BGR: a score between 0 and 1
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), image)
    return ["--images", str(folder), "--threads", "1"]


def test_two_times_the_same_engine_is_within_any_gate(
    tiny: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--test", "onnxruntime", "--min-agreement", "1", "--max-score-error", "0"]
    drawn = ["--images", "scenes:3:4", "--frames", "2"]
    assert main(["parity", str(tiny.folder), *options, *drawn]) == 0
    shown = capsys.readouterr()
    assert "the engines agree within the gates" in shown.out
    assert "comparing" in shown.err  # the progress bar


def test_a_broken_bundle_ends_with_1_and_its_stage_is_in_the_page_and_in_json(
    tiny: Bundle,
    two_stages: MakeBundle,
    quick: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "radius", np.float32(0.9))
    broken = two_stages(observer=observer)
    out = tmp_path / "out"
    options = ["--against", str(broken.folder), "--out", str(out)]
    assert main(["parity", str(tiny.folder), *options, *quick]) == 1
    shown = capsys.readouterr().out
    assert "beyond the gates:\n  - the score is off by up to" in shown
    assert "first bad stage: observer\n" in shown
    report = json.loads((out / "parity.json").read_text())
    assert report["agree"] is False and report["first_bad_stage"] == "observer"
    assert report["bad_alone"] == ["observer"] and report["outcome"]["agreement"] == 1
    assert [stage["name"] for stage in report["stages"]] == ["segmentation", "observer"]
    assert report["gates"] == {"min_agreement": 0.999, "max_score_error": pytest.approx(0.02)}
    logits = report["stages"][0]["alone"]["tensors"][0]
    assert logits["name"] == "logits" and logits["error"]["max"] == 0
    assert report["reference"]["precision"] == "fp32"
    names = [frame["name"] for frame in report["frames"]]
    pictures = sorted(path.stem for path in (out / "pictures").iterdir())
    assert pictures == names == ["a", "b"]
    page = cv2.imread(str(out / "pictures" / "a.png"))
    assert page is not None and page.shape[1] >= 3 * 320


def test_a_looser_gate_lets_it_pass(tiny: Bundle, two_stages: MakeBundle, quick: list[str]) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "radius", np.float32(0.9))
    broken = str(two_stages(observer=observer).folder)
    options = ["--against", broken, "--max-score-error", "1"]
    assert main(["parity", str(tiny.folder), *options, *quick]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "nothing to compare with"),
        (["--test", "onnxruntime:int8"], "has no int8 graph that onnxruntime-cpu can run"),
        (["--test", "caffe"], "unknown backend 'caffe'"),
        (["--test", "a:b:c"], "expected BACKEND[:PRECISION][@DEVICE]"),
        (["--test", "onnxruntime@cuda:0"], "cannot use device cuda:0"),
        (["--against", "nowhere"], "no bundle 'nowhere'"),
        (["--test", "onnxruntime", "--images", "nowhere.mp4"], "nowhere.mp4 does not exist"),
        (["--test", "onnxruntime", "--operating-point", "lax"], "no operating point 'lax'"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(
    options: list[str], message: str, tiny: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", str(tiny.folder), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error


def test_bundles_of_another_shape_are_refused_before_anything_runs(
    tiny: Bundle, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_tiny_bundle(tmp_path / "other", height=32)
    assert main(["parity", str(tiny.folder), "--against", str(other), *quick]) == 2
    assert "cannot be compared tensor by tensor" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_clear_error(
    tiny: Bundle, quick: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    options = ["--test", "onnxruntime", "--out", str(tmp_path / "file")]
    assert main(["parity", str(tiny.folder), *options, *quick]) == 2
    assert "error: cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [
        "--min-agreement=1.5",
        "--min-agreement=x",
        "--max-score-error=-1",
        "--max-score-error=inf",
        "--max-score-error=nan",
        "--flip-margin=2.5",
        "--frames=0",
    ],
)
def test_gates_that_are_none_are_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["parity", "tiny", option])
    assert caught.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err
