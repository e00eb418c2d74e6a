"""`anomaly-seg bundle`: what it prints and how it exits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from tiny_bundle import (
    resynthesis_graph,
    segmentation_graph,
    write_resynthesis_bundle,
    write_tiny_bundle,
)

from anomaly_seg_ros.cli.main import main

Edit = Callable[[Callable[[dict[str, Any]], object]], None]


def test_info_shows_stages_points_and_classes(
    tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", "info", str(tiny)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tiny (colour_distance)"
    assert "  input   64 x 128 RGB, squash, area-averaged" in lines
    assert "  observer: image, features_4 ->" in lines
    assert "     score  float32  1 x 16 x 32" in lines
    assert "  large    0.5        everywhere  12           half way     none" in lines
    assert "  0   road           128,64,128   drivable" in lines
    assert not any("\x1b" in line for line in lines)  # colours are for terminals


def test_info_shows_three_stages_in_their_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_resynthesis_bundle(tmp_path / "tiny")
    assert main(["bundle", "info", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("  segmentation: image ->")
    size = (folder / "resynthesis.onnx").stat().st_size
    assert lines[first + 5 : first + 11] == [
        "  resynthesis: labels ->",
        "     synthesis  float32  1 x 3 x 32 x 64",
        f"    resynthesis.onnx: fp32 for any, {size / 1e3:.1f} kB",
        "  dissimilarity: image, synthesis ->",
        "     perceptual_difference  float32  1 x 16 x 32",
        "     score                  float32  1 x 16 x 32",
    ]


def test_check_of_three_stages_names_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_resynthesis_bundle(tmp_path / "tiny")
    assert main(["bundle", "check", str(folder)]) == 0
    assert "(segmentation.onnx, resynthesis.onnx, dissimilarity.onnx)" in capsys.readouterr().out


def test_check_finds_a_synthesis_that_is_not_in_0_to_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_resynthesis_bundle(tmp_path / "tiny")
    model = resynthesis_graph(64, 128)
    colors = next(tensor for tensor in model.graph.initializer if tensor.name == "colors")
    colors.CopyFrom(numpy_helper.from_array(255 * numpy_helper.to_array(colors), "colors"))
    before = hashlib.sha256((folder / "resynthesis.onnx").read_bytes()).hexdigest()
    data = model.SerializeToString()
    (folder / "resynthesis.onnx").write_bytes(data)
    yaml_file = folder / "bundle.yaml"
    text = yaml_file.read_text()
    yaml_file.write_text(text.replace(before, hashlib.sha256(data).hexdigest()))
    assert main(["bundle", "check", str(folder)]) == 2
    assert "synthesis: the run gave values from 35 to 190, expected 0 to 1" in (
        capsys.readouterr().err
    )


def test_info_shows_parity_and_licences(
    edit: Edit, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(document: dict[str, Any]) -> None:
        document["stages"][0]["files"][0]["parity"] = {"labels": 0.9995}
        document["provenance"]["data_licences"] = ["CamVid: research only"]

    edit(fill)
    assert main(["bundle", "info", str(tiny)]) == 0
    shown = capsys.readouterr().out
    assert "        labels: 0.9995" in shown
    assert "  data_licences:\n    - CamVid: research only" in shown


def test_check_of_a_sound_bundle_says_so(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "check", str(tiny)]) == 0
    shown = capsys.readouterr().out
    assert "fp32: one frame ran on ONNX Runtime (CPU)" in shown
    assert shown.endswith("sound\n")


def test_check_lists_all_faults_and_exits_with_2(
    edit: Edit, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(lambda d: d["input"].update(fit="stretch"))
    (tiny / "observer.onnx").unlink()
    assert main(["bundle", "check", str(tiny)]) == 2
    shown = capsys.readouterr().err
    assert "input.fit: found 'stretch'" in shown
    assert "observer.onnx is missing" in shown


def test_check_runs_a_frame_and_finds_ids_without_class_and_numbers_that_are_none(
    edit: Edit, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = segmentation_graph(64, 128)
    cast = model.graph.node.pop()
    cast.input[0] = "shifted"
    shift = helper.make_node("Add", ["ids", "hundred"], ["shifted"])
    model.graph.node.extend([shift, cast])
    model.graph.initializer.append(numpy_helper.from_array(np.array(100), "hundred"))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(19, np.nan, np.float32), "bias"))
    data = model.SerializeToString()
    (tiny / "segmentation.onnx").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit(lambda d: d["stages"][0]["files"][0].update(sha256=digest))
    assert main(["bundle", "check", str(tiny)]) == 2
    shown = capsys.readouterr()
    assert "logits: the run gave 9728 of 9728 values not finite" in shown.err
    assert "which are no class of the bundle" in shown.err
    assert shown.out.endswith("faulty\n")


def test_an_unknown_bundle_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", "info", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("error: no bundle 'nowhere'")


def test_list_prints_the_shipped_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_bundle(tmp_path / "b")
    write_tiny_bundle(tmp_path / "a")
    monkeypatch.setattr("anomaly_seg_ros.bundle.SHIPPED", tmp_path)
    assert main(["bundle", "list"]) == 0
    assert capsys.readouterr().out == "a\nb\n"
