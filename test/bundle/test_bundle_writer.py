"""Writing a bundle: hashes filled in, checked before it is in place, never half of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import yaml
from tiny_bundle import (
    observer_graph,
    segmentation_graph,
    tiny_description,
    write_tiny_bundle,
)

from anomaly_seg_ros.backends import load_runner
from anomaly_seg_ros.bundle import BUNDLE_FILE, Bundle, write_bundle
from anomaly_seg_ros.errors import BundleError

Files = dict[str, dict[str, Path]]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    source = tmp_path / "exported"
    source.mkdir()
    onnx.save(segmentation_graph(64, 128), source / "a.onnx")
    onnx.save(observer_graph(64, 128), source / "b.onnx")
    return {"segmentation": {"fp32": source / "a.onnx"}, "observer": {"fp32": source / "b.onnx"}}


def test_files_are_named_by_stage_precision_and_backend(tmp_path: Path, files: Files) -> None:
    files["segmentation"]["int8@onnxruntime-cpu"] = files["segmentation"]["fp32"]
    files["segmentation"]["fp16"] = files["segmentation"]["fp32"]
    bundle = write_bundle(tmp_path / "out", description=tiny_description(), stage_files=files)
    named = [(f.precision, f.target, f.path.name) for f in bundle.stages[0].files]
    assert named == [
        ("fp32", "any", "segmentation.onnx"),
        ("int8", "onnxruntime-cpu", "segmentation.int8.onnxruntime-cpu.onnx"),
        ("fp16", "any", "segmentation.fp16.onnx"),
    ]


def test_parity_of_the_description_stays_with_its_file(tmp_path: Path, files: Files) -> None:
    description = tiny_description()
    parity = {"labels": 1.0, "score": 2e-7}
    description["stages"][0]["files"] = [{"precision": "fp32", "for": "any", "parity": parity}]
    bundle = write_bundle(tmp_path / "out", description=description, stage_files=files)
    assert bundle.stages[0].files[0].parity == parity
    assert bundle.stages[1].files[0].parity == {}


def test_a_value_that_stands_twice_is_written_twice(tmp_path: Path, files: Files) -> None:
    description = tiny_description()
    shared = ["CamVid", "drawn scenes"]
    description["provenance"] = {"data": shared, "data_licences": shared}
    bundle = write_bundle(tmp_path / "out", description=description, stage_files=files)
    assert bundle.provenance == {"data": shared, "data_licences": shared}


def test_a_faulty_description_leaves_the_old_bundle_as_it_was(tmp_path: Path, files: Files) -> None:
    folder = write_tiny_bundle(tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    description = tiny_description()
    description["operating_points"].pop("default")
    with pytest.raises(BundleError, match="named default"):
        write_bundle(folder, description=description, stage_files=files)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def test_writing_again_replaces_the_bundle_and_keeps_the_model_card(
    tmp_path: Path, files: Files
) -> None:
    folder = write_tiny_bundle(tmp_path / "out", height=32)
    (folder / "MODEL_CARD.md").write_text("what it can do")
    write_bundle(folder, description=tiny_description(), stage_files=files)
    assert Bundle.open(folder).input.height == 64
    assert (folder / "MODEL_CARD.md").read_text() == "what it can do"


def test_a_bundle_can_be_written_over_its_own_files(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "out")
    files = {s: {"fp32": folder / f"{s}.onnx"} for s in ("segmentation", "observer")}
    description = {**tiny_description(), "name": "again"}
    assert write_bundle(folder, description=description, stage_files=files).name == "again"


def test_weights_in_another_file_travel_with_the_graph(tmp_path: Path, files: Files) -> None:
    model = segmentation_graph(64, 128)
    path = tmp_path / "exported" / "large.onnx"
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        location="large.bin",
        size_threshold=0,
        convert_attribute=False,
    )
    files["segmentation"] = {"fp32": path}
    bundle = write_bundle(tmp_path / "out", description=tiny_description(), stage_files=files)
    assert [e.path.name for e in bundle.stages[0].files[0].external] == ["large.bin"]
    runner = load_runner(bundle, "onnxruntime")
    image = np.full((1, 64, 128, 3), 70, np.uint8)
    assert (runner.run(image, ["labels"]).arrays["labels"] == 2).all()  # building is 70, 70, 70


def test_files_of_a_stage_that_is_not_there_are_refused(tmp_path: Path, files: Files) -> None:
    files["dissimilarity"] = files["observer"]
    with pytest.raises(BundleError, match="stages dissimilarity, which the description does not"):
        write_bundle(tmp_path / "out", description=tiny_description(), stage_files=files)


def test_a_stage_without_files_is_a_fault(tmp_path: Path, files: Files) -> None:
    del files["observer"]
    with pytest.raises(BundleError, match=r"stages\[observer\]\.files: found \[\]"):
        write_bundle(tmp_path / "out", description=tiny_description(), stage_files=files)


def test_a_missing_graph_is_named(tmp_path: Path, files: Files) -> None:
    files["observer"]["fp32"].unlink()
    with pytest.raises(BundleError, match=r"b\.onnx is missing: export the stage first"):
        write_bundle(tmp_path / "out", description=tiny_description(), stage_files=files)


def test_a_numpy_number_in_the_description_is_one_clear_error(tmp_path: Path, files: Files) -> None:
    description = tiny_description()
    description["provenance"] = {"metrics": {"ap": np.float64(0.5)}}
    with pytest.raises(BundleError, match="turn arrays and numpy numbers into lists"):
        write_bundle(tmp_path / "out", description=description, stage_files=files)


def test_the_yaml_keeps_the_order_of_the_description(tmp_path: Path, files: Files) -> None:
    folder = write_bundle(
        tmp_path / "out", description=tiny_description(), stage_files=files
    ).folder
    assert list(yaml.safe_load((folder / BUNDLE_FILE).read_text())) == list(tiny_description())
