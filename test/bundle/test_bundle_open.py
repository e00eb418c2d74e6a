"""Opening a bundle: what is sound opens, and every kind of fault is named with its mend."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundle_faults import faults_of
from onnx import TensorProto, helper, numpy_helper
from tiny_bundle import CLASS_COLORS, segmentation_graph

from anomaly_seg_ros.bundle import BUNDLE_FILE, SHIPPED, Bundle, shipped_bundles
from anomaly_seg_ros.errors import BundleError

Document = dict[str, Any]
Edit = Callable[[Callable[[Document], object]], None]


def stage(document: Document, index: int) -> Document:
    return document["stages"][index]


def graph_file(document: Document, index: int) -> Document:
    return stage(document, index)["files"][0]


def point(document: Document, name: str = "default") -> Document:
    return document["operating_points"][name]


def put_graph(tiny: Path, edit: Edit, model: onnx.ModelProto, index: int = 0) -> None:
    """Replace the graph of a stage and its hash, so that only the graph itself is wrong."""
    file = tiny / ["segmentation.onnx", "observer.onnx"][index]
    file.write_bytes(model.SerializeToString())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    edit(lambda d: graph_file(d, index).update(sha256=digest))


# --- what is sound ---------------------------------------------------------------------------


def test_a_sound_bundle_opens_with_everything_its_yaml_says(tiny: Path) -> None:
    bundle = Bundle.open(tiny)
    assert (bundle.name, bundle.format, bundle.folder) == ("tiny", 1, tiny)
    assert (bundle.input.height, bundle.input.width, bundle.input.fit) == (64, 128, "squash")
    assert (bundle.input.resize, bundle.input.antialias) == ("bilinear", True)
    assert [entry.name for entry in bundle.classes if entry.drivable] == ["road"]
    assert bundle.classes[13].color == CLASS_COLORS[13]
    assert bundle.stages[1].inputs == ("image", "features_4")
    assert bundle.stages[0].files[0].path == tiny / "segmentation.onnx"
    assert bundle.score_display == (0.0, 1.0)
    assert bundle.reference_quantiles == (0.0, 0.0, 0.1)
    assert bundle.operating_points["road"].focus == "road"
    assert bundle.operating_points["large"].min_region == 12
    assert bundle.operating_points["default"].threshold == 0.5


def test_outputs_are_listed_in_the_order_they_are_made(tiny: Path) -> None:
    outputs = Bundle.open(tiny).outputs()
    assert list(outputs) == ["logits", "labels", "features_4", "score"]
    assert str(outputs["labels"]) == "labels uint8 [1, 16, 32]"


def test_the_palette_has_the_class_colours_by_id(tiny: Path) -> None:
    palette = Bundle.open(tiny).palette()
    assert palette.shape == (256, 3)
    np.testing.assert_array_equal(palette[:19], CLASS_COLORS)
    assert not palette[19:].any()


def test_the_maker_of_a_tensor_is_found(tiny: Path) -> None:
    bundle = Bundle.open(tiny)
    assert bundle.maker("score").name == "observer"
    with pytest.raises(BundleError, match="makes no depth; it makes logits, labels"):
        bundle.maker("depth")


def test_a_bundle_opens_by_string_and_relative_folder(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert Bundle.open("./tiny").name == Bundle.open(str(tiny)).name == "tiny"


def test_links_inside_the_folder_are_fine(tiny: Path) -> None:
    (tiny / "segmentation.onnx").rename(tiny / "real.onnx")
    (tiny / "segmentation.onnx").symlink_to("real.onnx")
    assert Bundle.open(tiny).name == "tiny"


def test_every_shipped_bundle_opens_by_name() -> None:
    names = shipped_bundles()
    assert names == sorted(path.parent.name for path in SHIPPED.glob(f"*/{BUNDLE_FILE}"))
    for name in names:
        assert Bundle.open(name).folder == SHIPPED / name


# --- where it is looked for ------------------------------------------------------------------


def test_an_unknown_name_lists_the_shipped_ones(
    monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    monkeypatch.setattr("anomaly_seg_ros.bundle.SHIPPED", tiny.parent)
    with pytest.raises(BundleError, match=r"no bundle 'nowhere'.*shipped name \(tiny\)"):
        Bundle.open("nowhere")
    assert Bundle.open("tiny").folder == tiny


def test_a_file_in_place_of_a_folder_is_named(tiny: Path) -> None:
    with pytest.raises(BundleError, match=r"bundle\.yaml is a file; give the folder"):
        Bundle.open(tiny / BUNDLE_FILE)


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(BundleError, match="no bundle ''"):
        Bundle.open("")


def test_a_folder_without_yaml_says_what_is_missing(tmp_path: Path) -> None:
    assert "bundle.yaml is missing" in faults_of(tmp_path)


# --- yaml ------------------------------------------------------------------------------------

BROKEN_TEXTS = {
    "syntax": ("stages: [", "not valid yaml"),
    "list": ("- 1\n- 2\n", "found [1, 2], expected a mapping"),
    "text": ("hello\n", "found 'hello', expected a mapping"),
    "empty": ("", "found None, expected a mapping"),
    "python object": ("format: !!python/object/apply:os.getcwd []\n", "not valid yaml"),
    "empty number": ("format: !!int ''\n", "not valid yaml"),
    "no such day": ("format: 2024-99-99\n", "not valid yaml"),
    "deep": ("[" * 500, "not valid yaml"),
    "double key": ("format: 1\nformat: 1\n", "key 'format' stands twice in one mapping (line 2)"),
    "alias": ("a: &x [1]\nb: *x\n", "is used again by an alias"),
    "endless": ("a: &x {b: *x}\n", "is used again by an alias"),
    "huge": ("#" * 2_000_000, "found 2000000 bytes, expected at most"),
}


@pytest.mark.parametrize("text, expected", BROKEN_TEXTS.values(), ids=BROKEN_TEXTS)
def test_yaml_that_is_no_description_is_one_clear_error(
    tiny: Path, text: str, expected: str
) -> None:
    (tiny / BUNDLE_FILE).write_text(text)
    assert expected in faults_of(tiny)


def test_yaml_that_is_not_utf8_is_one_clear_error(tiny: Path) -> None:
    (tiny / BUNDLE_FILE).write_bytes(b"name: \xff\xfe\n")
    assert "not UTF-8" in faults_of(tiny)


def test_a_pipe_in_place_of_the_yaml_does_not_hang(tiny: Path) -> None:
    (tiny / BUNDLE_FILE).unlink()
    os.mkfifo(tiny / BUNDLE_FILE)
    assert "bundle.yaml is missing" in faults_of(tiny)


def test_another_format_version_stops_the_reading(edit: Edit, tiny: Path) -> None:
    edit(lambda d: d.update(format=2, name=5))
    assert "format: found 2, this release reads 1" in faults_of(tiny)
    assert "has 1 fault:" in faults_of(tiny)


# --- values ----------------------------------------------------------------------------------

BROKEN_VALUES: dict[str, tuple[Callable[[Document], object], str]] = {
    "format missing": (lambda d: d.pop("format"), "format: found nothing, expected a whole number"),
    "format true": (lambda d: d.update(format=True), "format: found True"),
    "name": (lambda d: d.update(name=""), "name: found '', expected a text"),
    "unknown key": (lambda d: d.update(licence="x"), "licence: unknown key; known here: format,"),
    "fit": (
        lambda d: d["input"].update(fit="stretch"),
        "input.fit: found 'stretch', expected one of squash, letterbox, crop",
    ),
    "resize": (
        lambda d: d["input"].update(resize="lanczos"),
        "input.resize: found 'lanczos', expected one of bilinear",
    ),
    "antialias": (lambda d: d["input"].update(antialias="yes"), "input.antialias: found 'yes'"),
    "height": (lambda d: d["input"].update(height=0), "input.height: found 0, expected a whole"),
    "misspelt": (lambda d: d["input"].update(antialais=True), "input.antialais: unknown key"),
    "input": (lambda d: d.update(input=[]), "input: found [], expected a mapping"),
    "classes": (lambda d: d.update(classes=[]), "classes: found [], expected a list of mappings"),
    "class": (lambda d: d["classes"].append(7), "classes[19]: found 7, expected a mapping"),
    "class id 255": (lambda d: d["classes"][3].update(id=255), "classes[wall].id: found 255"),
    "colour": (lambda d: d["classes"][3].update(color=[1, 2, 256]), "classes[wall].color: found"),
    "class id twice": (lambda d: d["classes"][3].update(id=2), "classes: id 2 stands there twice"),
    "class name twice": (
        lambda d: d["classes"][3].update(name="road"),
        "classes: name road stands there twice",
    ),
    "stage name twice": (
        lambda d: stage(d, 1).update(name="segmentation"),
        "stages: name segmentation stands there twice",
    ),
    "stage name": (lambda d: stage(d, 1).update(name="a/b"), "stages[1].name: found 'a/b'"),
    "no inputs": (lambda d: stage(d, 1).update(inputs=[]), "stages[observer].inputs: found []"),
    "input twice": (
        lambda d: stage(d, 1)["inputs"].append("image"),
        "stages[observer].inputs: tensor image stands there twice",
    ),
    "input of nobody": (
        lambda d: stage(d, 1)["inputs"].append("depth"),
        "stages[observer].inputs: depth is made by no stage; made before this stage: image, logits",
    ),
    "input made later": (
        lambda d: d["stages"].reverse(),
        "stages[observer].inputs: features_4 is made only later; made before this stage: image:",
    ),
    "tensor twice": (
        lambda d: stage(d, 1)["outputs"].append(stage(d, 0)["outputs"][0]),
        "stages[observer].outputs: logits is already made by stage segmentation",
    ),
    "image made": (
        lambda d: stage(d, 0)["outputs"][2].update(name="image"),
        "stages[segmentation].outputs: image is already made by the camera",
    ),
    "dtype": (
        lambda d: stage(d, 0)["outputs"][0].update(dtype="float31"),
        "stages[segmentation].outputs[logits].dtype: found 'float31'",
    ),
    "shape": (
        lambda d: stage(d, 0)["outputs"][0].update(shape=[2, 19, 16, 32]),
        "stages[segmentation].outputs[logits].shape: found [2, 19, 16, 32]",
    ),
    "labels dtype": (
        lambda d: stage(d, 0)["outputs"][1].update(dtype="int64"),
        "expected labels to be uint8 with 3 dimensions",
    ),
    "logits channels": (
        lambda d: d["classes"].pop(),
        "found logits float32 [1, 19, 16, 32], expected one channel for each of the 18 classes",
    ),
    "synthesis channels": (
        lambda d: stage(d, 0)["outputs"][2].update(name="synthesis", shape=[1, 4, 16, 32]),
        "found synthesis float32 [1, 4, 16, 32], expected the 3 channels of an RGB image",
    ),
    "labels missing": (
        lambda d: stage(d, 0)["outputs"].pop(1),
        "no stage makes labels; found logits, features_4, score",
    ),
    "score missing": (lambda d: d["stages"].pop(), "no stage makes score"),
    "no files": (lambda d: stage(d, 0).update(files=[]), "stages[segmentation].files: found []"),
    "precision": (
        lambda d: graph_file(d, 0).update(precision="fp8"),
        "stages[segmentation].files[0].precision: found 'fp8', expected one of fp32, fp16, int8",
    ),
    "target": (
        lambda d: graph_file(d, 0).update({"for": "abacus"}),
        "stages[segmentation].files[0].for: found 'abacus', expected one of any, onnxruntime-cpu",
    ),
    "same file twice": (
        lambda d: stage(d, 0)["files"].append(dict(graph_file(d, 0))),
        "stages[segmentation].files: precision fp32 for any stands there twice",
    ),
    "hash": (lambda d: graph_file(d, 0).update(sha256="abc"), "sha256: found 'abc', expected 64"),
    "display": (
        lambda d: d["score"].update(display=[1, 0]),
        "score.display: found [1, 0], expected two finite numbers, the lower first",
    ),
    "quantiles": (
        lambda d: d["score"].update(reference_quantiles=[0, 2, 1]),
        "score.reference_quantiles: found [0, 2, 1], expected a list of finite numbers that never",
    ),
    "no default": (
        lambda d: d["operating_points"].pop("default"),
        "operating_points: found strict, road, large, expected one of them to be named default",
    ),
    "no threshold": (
        lambda d: point(d).pop("threshold"),
        "operating_points.default.threshold: found nothing, expected a finite number",
    ),
    "nan threshold": (
        lambda d: point(d).update(threshold=float("nan")),
        "operating_points.default.threshold: found nan, expected a finite number",
    ),
    "infinite threshold": (
        lambda d: point(d, "strict").update(threshold=float("inf")),
        "operating_points.strict.threshold: found inf, expected a finite number",
    ),
    "no rule": (lambda d: point(d).pop("rule"), "operating_points.default.rule: found nothing"),
    "focus": (
        lambda d: point(d, "road").update(focus="sky"),
        "operating_points.road.focus: found 'sky', expected one of everywhere, road",
    ),
    "min_region": (
        lambda d: point(d).update(min_region=-1),
        "operating_points.default.min_region: found -1, expected a whole number, 0 or more",
    ),
    "provenance": (
        lambda d: d.update(provenance="me"),
        "provenance: found 'me', expected a mapping",
    ),
}


@pytest.mark.parametrize("change, expected", BROKEN_VALUES.values(), ids=BROKEN_VALUES)
def test_a_broken_value_is_named_with_what_was_expected(
    edit: Edit, tiny: Path, change: Callable[[Document], object], expected: str
) -> None:
    edit(change)
    assert expected in faults_of(tiny)


# --- files -----------------------------------------------------------------------------------


def test_a_missing_file_is_named_with_what_is_there(tiny: Path) -> None:
    (tiny / "observer.onnx").unlink()
    message = faults_of(tiny)
    assert "observer.onnx is missing; the folder holds bundle.yaml, segmentation.onnx" in message
    assert "has 1 fault:" in message


def test_a_changed_file_is_named_with_both_hashes(tiny: Path) -> None:
    file = tiny / "observer.onnx"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    file.write_bytes(file.read_bytes() + b"\0")
    after = hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"observer.onnx has sha256 {after}, expected {before}" in faults_of(tiny)


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_a_path_out_of_the_folder_is_refused(edit: Edit, tiny: Path, absolute: bool) -> None:
    outside = (tiny / "segmentation.onnx").rename(tiny.parent / "outside.onnx")
    name = str(outside) if absolute else "../outside.onnx"
    edit(lambda d: graph_file(d, 0).update(file=name))
    assert "../outside.onnx leads out of the bundle's folder" in faults_of(tiny)


def test_a_link_out_of_the_folder_is_refused(tiny: Path) -> None:
    (tiny / "segmentation.onnx").rename(tiny.parent / "outside.onnx")
    (tiny / "segmentation.onnx").symlink_to(tiny.parent / "outside.onnx")
    assert "segmentation.onnx leads out of the bundle's folder" in faults_of(tiny)


def test_a_folder_that_links_out_of_the_bundle_is_refused(edit: Edit, tiny: Path) -> None:
    (tiny / "segmentation.onnx").rename(tiny.parent / "outside.onnx")
    (tiny / "graphs").symlink_to(tiny.parent)
    edit(lambda d: graph_file(d, 0).update(file="graphs/outside.onnx"))
    assert "graphs/outside.onnx leads out of the bundle's folder" in faults_of(tiny)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 300, 7], ids=["empty", "nul", "long", "number"])
def test_a_file_name_that_is_none_is_a_fault(edit: Edit, tiny: Path, name: object) -> None:
    edit(lambda d: graph_file(d, 0).update(file=name))
    assert "files[0].file: found" in faults_of(tiny)


def test_a_link_to_itself_is_a_fault(tiny: Path) -> None:
    (tiny / "observer.onnx").unlink()
    (tiny / "observer.onnx").symlink_to("observer.onnx")
    assert "observer.onnx" in faults_of(tiny)


# --- graphs ----------------------------------------------------------------------------------


def test_bytes_that_are_no_model_are_a_fault(edit: Edit, tiny: Path) -> None:
    (tiny / "observer.onnx").write_bytes(b"hello")
    digest = hashlib.sha256(b"hello").hexdigest()
    edit(lambda d: graph_file(d, 1).update(sha256=digest))
    assert "observer.onnx is no ONNX model" in faults_of(tiny)


def test_a_graph_of_another_input_size_prints_both_sides(edit: Edit, tiny: Path) -> None:
    put_graph(tiny, edit, segmentation_graph(32, 128))
    message = faults_of(tiny)
    assert "found image uint8 [1, 32, 128, 3], expected image uint8 [1, 64, 128, 3]" in message
    assert "found labels uint8 [1, 8, 32], expected labels uint8 [1, 16, 32]" in message


def test_a_graph_with_another_dtype_prints_both_sides(edit: Edit, tiny: Path) -> None:
    model = segmentation_graph(64, 128)
    model.graph.output[1].type.tensor_type.elem_type = TensorProto.INT64
    model.graph.node[-1].attribute[0].i = TensorProto.INT64
    put_graph(tiny, edit, model)
    assert "found labels int64 [1, 16, 32], expected labels uint8 [1, 16, 32]" in faults_of(tiny)


def test_a_graph_with_another_name_prints_both_sides(edit: Edit, tiny: Path) -> None:
    model = segmentation_graph(64, 128)
    model.graph.output[1].name = "classes"
    model.graph.node[-1].output[0] = "classes"
    put_graph(tiny, edit, model)
    message = faults_of(tiny)
    assert (
        "classes uint8 [1, 16, 32], features_4 float32 [1, 3, 16, 32], expected labels" in message
    )
    assert "found classes uint8 [1, 16, 32], expected only logits, labels, features_4" in message


def test_a_graph_of_dynamic_size_is_a_fault(edit: Edit, tiny: Path) -> None:
    model = segmentation_graph(64, 128)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    put_graph(tiny, edit, model)
    assert "found image uint8 [1, height, 128, 3], expected image uint8" in faults_of(tiny)


# --- external data ---------------------------------------------------------------------------


def with_weights_in(location: str) -> onnx.ModelProto:
    """The segmentation graph with the weights of its convolution in another file."""
    model = segmentation_graph(64, 128)
    weight = next(t for t in model.graph.initializer if t.name == "weight")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    weight.ClearField("raw_data")
    return model


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", ""])
def test_weights_outside_the_folder_are_refused(edit: Edit, tiny: Path, location: str) -> None:
    put_graph(tiny, edit, with_weights_in(location))
    assert f"keeps weights in {location!r}, outside the bundle's folder" in faults_of(tiny)


def test_weights_outside_the_folder_are_found_in_attributes_too(edit: Edit, tiny: Path) -> None:
    model = segmentation_graph(64, 128)
    constant = numpy_helper.from_array(np.zeros(1, np.float32), "hidden")
    constant.data_location = TensorProto.EXTERNAL
    entry = constant.external_data.add()
    entry.key, entry.value = "location", "../../secret"
    model.graph.node.append(helper.make_node("Constant", [], ["hidden"], value=constant))
    put_graph(tiny, edit, model)
    assert "keeps weights in '../../secret'" in faults_of(tiny)


def test_weights_without_a_hash_are_refused_and_with_one_they_are_fine(
    edit: Edit, tiny: Path
) -> None:
    weights = (2 * np.array(CLASS_COLORS, np.float32) / 255).tobytes()
    (tiny / "weights.bin").write_bytes(weights)
    put_graph(tiny, edit, with_weights_in("weights.bin"))
    assert "keeps weights in 'weights.bin', which has no hash here" in faults_of(tiny)
    listed = {"file": "weights.bin", "sha256": hashlib.sha256(weights).hexdigest()}
    edit(lambda d: graph_file(d, 0).update(external=[listed]))
    assert Bundle.open(tiny).stages[0].files[0].external[0].path == tiny / "weights.bin"
    (tiny / "weights.bin").write_bytes(b"other")
    assert "weights.bin has sha256" in faults_of(tiny)


# --- all at once -----------------------------------------------------------------------------


def test_one_error_lists_all_faults(edit: Edit, tiny: Path) -> None:
    def ruin(document: Document) -> None:
        document["input"]["fit"] = "stretch"
        document["classes"][3]["id"] = 2
        document["operating_points"].pop("default")
        point(document, "strict")["threshold"] = float("nan")
        stage(document, 1)["inputs"].append("depth")
        graph_file(document, 0)["file"] = "../segmentation.onnx"

    edit(ruin)
    (tiny / "observer.onnx").unlink()
    message = faults_of(tiny)
    for expected in (
        "input.fit: found 'stretch'",
        "classes: id 2 stands there twice",
        "named default",
        "operating_points.strict.threshold",
        "depth is made by no stage",
        "../segmentation.onnx leads out of",
        "observer.onnx is missing",
    ):
        assert expected in message
    assert "has 7 faults:" in message
    assert message.count("\n  - ") == 7


def test_files_are_checked_although_a_stage_cannot_be_read(edit: Edit, tiny: Path) -> None:
    edit(lambda d: stage(d, 0)["outputs"][0].update(dtype="float31"))
    (tiny / "segmentation.onnx").write_bytes(b"changed")
    message = faults_of(tiny)
    assert "float31" in message
    assert "segmentation.onnx has sha256" in message
