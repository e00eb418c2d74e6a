"""`python -m training add-precision`: bundles that run in other precisions, or a refusal."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_chain import write_small_chain
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.graph_rules.check import check_bundle
from training.data.anomaly_frames import AnomalyFrames, AnomalySample
from training.precision import command, workbench
from training.precision.frames import Pictures


def add(bundle: Path, out: Path, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    fixed = ("add-precision", str(bundle), "--out", str(out), "--frames", "3", "--every", "1")
    parsed = parser.parse_args([*fixed, *arguments])
    return parsed.handler(parsed)


@pytest.fixture(scope="module", autouse=True)
def blocks_of_colour(feeds: list[dict[str, np.ndarray]]) -> Iterator[None]:
    """In the place of scenes: quick, and what the chain was made for."""
    images = [feed["image"][0] for feed in feeds]
    pictures = Pictures("blocks", tuple(lambda image=image: image for image in images))
    known = np.zeros(images[0].shape[:2], np.uint8)
    frames = AnomalyFrames(
        "blocks",
        "blocks",
        ("0", "1"),
        lambda index: AnomalySample(str(index), images[index], known),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workbench, "calibration_pictures", lambda data, count: pictures)
        patch.setattr(workbench, "measured_frames", lambda data: (frames, False))
        yield


@pytest.fixture(scope="module")
def written(chain: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    (chain.folder / "MODEL_CARD.md").write_text("# card\n")
    out = tmp_path_factory.mktemp("added") / "small"
    assert add(chain.folder, out, "--min-speedup", "0.01") == 0
    return Bundle.open(out)


def test_every_stage_has_every_precision_beside_fp32(written: Bundle) -> None:
    for stage in written.stages:
        assert [(file.precision, file.target) for file in stage.files] == [
            ("fp32", "any"),
            ("fp16", "any"),
            ("int8", "onnxruntime-cpu"),
            ("int8", "tensorrt"),
        ]
    assert (written.folder / "MODEL_CARD.md").read_text() == "# card\n"


def test_parity_of_each_file_is_told(written: Bundle) -> None:
    fp32, fp16, cpu, tensorrt = written.stages[0].files
    assert fp32.parity == {} and fp16.parity["nodes_fp16"] == 7
    assert cpu.parity["blocks_int8"] == 3 and cpu.parity["kept_fp32"] == ["first", "head"]
    assert cpu.parity["form"] in ("qdq", "qoperator") and cpu.parity["speedup"] > 0
    for file in (fp16, cpu, tensorrt):
        assert file.parity["label_agreement"] >= 0.97
        assert file.parity["data"] == "blocks" and "ap" not in file.parity


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_cpu_runs_what_was_added(written: Bundle, precision: str) -> None:
    runner = load_runner(written, "onnxruntime", "cpu", precision, 1)
    image = np.full((1, 64, 128, 3), (0, 0, 142), np.uint8)  # the colour of cars
    assert (runner.run(image, ("labels",)).arrays["labels"] == 13).all()
    runner.close()


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime-cpu"])
def test_added_graphs_fit_the_rules_of_what_runs_them(written: Bundle, target: str) -> None:
    for report in check_bundle(written, target):
        assert report.file is not None
        if report.file.precision != "fp32":  # which came with the bundle
            assert not report.faulty, report


def test_files_added_before_are_replaced(written: Bundle, tmp_path: Path) -> None:
    assert add(written.folder, tmp_path / "again", "--make", "fp16") == 0
    again = Bundle.open(tmp_path / "again")
    assert len(again.stages[0].files) == len(written.stages[0].files)


def test_graphs_that_are_not_faster_are_refused_with_what_was_measured(
    chain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none"
    assert add(chain.folder, out, "--make", command.CPU_INT8, "--min-speedup", "1e6") == 1
    told = capsys.readouterr().out
    assert "refused: int8 for onnxruntime-cpu is " in told
    assert "times as fast as fp32" in told and "label agreement" in told
    assert "expected 1e+06 or more" in told and not out.exists()


def test_graphs_that_see_something_else_are_refused(
    chain: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("training.precision.parity.MIN_LABEL_AGREEMENT", 1.1)
    assert add(chain.folder, tmp_path / "none", "--make", "int8@tensorrt", "fp16") == 1
    told = capsys.readouterr().out
    assert "refused: int8 is refused whatever stays in fp32" in told
    assert "refused: fp16 is refused: label agreement" in told
    assert "looking for what hurts" in told


@pytest.mark.parametrize(
    ("key", "hurt"),
    [
        ("int8@tensorrt", ["spread"]),  # inputs alone are quantised there
        (command.CPU_INT8, ["mix", "spread"]),
    ],
)
def test_blocks_that_int8_hurts_stay_in_fp32(tmp_path: Path, key: str, hurt: list[str]) -> None:
    uneven = write_small_chain(tmp_path / "uneven", uneven=3000.0)
    out = tmp_path / "out"
    assert add(uneven.folder, out, "--make", key, "--min-speedup", "0.01") == 0
    parity = Bundle.open(out).stages[0].files[1].parity
    assert parity["kept_fp32"] == ["first", "head", *hurt]
    assert parity["blocks_int8"] == 3 - len(hurt) and parity["label_agreement"] >= 0.97


def test_a_bundle_with_nothing_to_quantise_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = write_tiny_bundle(tmp_path / "tiny")
    assert add(tiny, tmp_path / "out", "--make", "int8@tensorrt") == 1
    assert "no convolution between the first and the last" in capsys.readouterr().out
