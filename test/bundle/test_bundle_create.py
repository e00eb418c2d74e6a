"""`anomaly-seg bundle create`: a user's network between uint8 image and labels and score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import TensorProto, helper
from user_networks import CLASSES, output, write_network

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import ClassSpec
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.creation.create import Created, create_bundle
from anomaly_seg_ros.creation.options import Preprocessing, Wishes
from anomaly_seg_ros.creation.parity import measure
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.graph_rules.check import check_bundle

NAMES = ("road", "building", "sky", "person", "car")
COLORS = tuple(ClassSpec(i, name, (i, 2 * i, 3 * i), i == 0) for i, name in enumerate(NAMES))
IMAGENET = Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
SCORES = ("max_logit", "max_softmax", "entropy", "energy", "margin")


@pytest.fixture
def frame() -> np.ndarray:
    """A smooth picture, uint8 [1, 32, 64, 3] RGB."""
    noise = np.random.default_rng(3).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    return cv2.resize(noise, (64, 32), interpolation=cv2.INTER_CUBIC)[None]


def create(tmp_path: Path, model: Path, score: str = "max_logit", **wishes: Any) -> Created:
    return create_bundle(model, tmp_path / "made", COLORS, Wishes(score, **wishes))


def refused(tmp_path: Path, model: Path, score: str = "max_logit", **wishes: Any) -> str:
    """What is said of a network that no bundle can be made of; nothing is left behind."""
    with pytest.raises(BundleError) as error:
        create(tmp_path, model, score, **wishes)
    assert not (tmp_path / "made").exists()
    return str(error.value)


def run_file(path: Path, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feeds)


def run_made(made: Created, frame: np.ndarray) -> dict[str, np.ndarray]:
    (stage,) = made.bundle.stages
    results = run_file(stage.files[0].path, {"image": frame})
    return dict(zip((spec.name for spec in stage.outputs), results, strict=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits.astype(np.float64))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


# ---- what the graph computes


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_bundle_computes_what_the_network_does_on_the_prepared_image(
    tmp_path: Path, frame: np.ndarray, layout: str
) -> None:
    model = write_network(tmp_path / "net.onnx", layout=layout)
    pixels = (frame / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    ordered = pixels.transpose(0, 3, 1, 2) if layout == "nchw" else pixels
    (scores,) = run_file(model, {"input": ordered.astype(np.float32)})
    wanted = scores if layout == "nchw" else scores.transpose(0, 3, 1, 2)

    preprocessing = Preprocessing(layout, mean=IMAGENET.mean, std=IMAGENET.std)
    found = run_made(create(tmp_path, model, preprocessing=preprocessing), frame)

    np.testing.assert_allclose(found["logits"], wanted, atol=1e-4)
    assert found["labels"].dtype == np.uint8
    np.testing.assert_array_equal(found["labels"], found["logits"].argmax(axis=1))
    np.testing.assert_allclose(found["score"], -found["logits"].max(axis=1))


def test_channels_are_turned_to_bgr_and_pixels_kept_in_0_to_255(
    tmp_path: Path, frame: np.ndarray
) -> None:
    model = write_network(tmp_path / "net.onnx")
    caffe = Preprocessing(channels="bgr", range="0..255", mean=(104.0, 117.0, 123.0))
    planes = (frame[..., ::-1] - np.array([104.0, 117.0, 123.0])).transpose(0, 3, 1, 2)
    (wanted,) = run_file(model, {"input": planes.astype(np.float32)})
    found = run_made(create(tmp_path, model, preprocessing=caffe), frame)
    np.testing.assert_allclose(found["logits"], wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("score", SCORES)
def test_score_rules_follow_their_formulas(tmp_path: Path, frame: np.ndarray, score: str) -> None:
    model = write_network(tmp_path / "net.onnx", scale=4)
    found = run_made(create(tmp_path, model, score), frame)
    logits = found["logits"].astype(np.float64)
    p = softmax(logits)
    ordered = np.sort(p, axis=1)
    wanted = {
        "max_logit": -logits.max(axis=1),
        "max_softmax": 1 - p.max(axis=1),
        "entropy": -(p * np.log(p)).sum(axis=1) / np.log(CLASSES),
        "energy": -np.log(np.exp(logits).sum(axis=1)),
        "margin": 1 - (ordered[:, -1] - ordered[:, -2]),
    }
    np.testing.assert_allclose(found["score"], wanted[score], atol=2e-5)


@pytest.mark.parametrize("score", SCORES)
def test_scores_stay_finite_where_float32_exponentials_overflow(
    tmp_path: Path, frame: np.ndarray, score: str
) -> None:
    model = write_network(tmp_path / "net.onnx", scale=1000)
    found = run_made(create(tmp_path, model, score), frame)
    assert np.abs(found["logits"]).max() > 300
    assert np.isfinite(found["score"]).all()


def test_a_score_of_the_network_is_taken_as_it_is(tmp_path: Path, frame: np.ndarray) -> None:
    tail = [
        helper.make_node("ReduceMax", ["scores", "one"], ["unsure"], keepdims=1),
    ]
    model = write_network(
        tmp_path / "net.onnx",
        tail=tail,
        outputs=[output("scores"), output("unsure")],
        constants={"one": np.array([1], np.int64)},
    )
    made = create(tmp_path, model, "output:unsure")
    found = run_made(made, frame)
    assert made.chosen.logits == "scores"
    assert found["score"].shape == (1, 16, 32)
    np.testing.assert_array_equal(found["score"], found["logits"].max(axis=1))


def test_class_ids_suffice_where_the_network_gives_a_score(
    tmp_path: Path, frame: np.ndarray
) -> None:
    model = labels_only(tmp_path, with_score=True)
    made = create(tmp_path, model, "output:unsure")
    found = run_made(made, frame)
    assert set(found) == {"labels", "score"}
    assert len(np.unique(found["labels"])) > 1
    assert check_bundle(made.bundle, "tensorrt")[0].findings == ()


@pytest.mark.parametrize("opset", [9, 11, 13, 17])
def test_old_opsets_are_brought_to_18(tmp_path: Path, opset: int) -> None:
    made = create(tmp_path, write_network(tmp_path / "net.onnx", opset=opset))
    assert (made.network.opset, made.opset) == (opset, 18)
    assert made.parity["label_agreement"] == 1


def test_a_newer_opset_is_kept(tmp_path: Path) -> None:
    assert create(tmp_path, write_network(tmp_path / "net.onnx", opset=20)).opset == 20


def test_an_open_size_is_fixed(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx", size=("h", "w"), batch="n")
    made = create(tmp_path, model, size=(48, 96))
    assert (made.bundle.input.height, made.bundle.input.width) == (48, 96)
    assert made.bundle.outputs()["logits"].shape == (1, CLASSES, 24, 48)


def test_weights_of_side_files_are_brought_in(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    made = create(tmp_path, path)
    assert {file.name for file in made.bundle.folder.iterdir()} == {
        "bundle.yaml",
        "segmentation.onnx",
        "MODEL_CARD.md",
    }


def test_heads_for_training_and_notes_of_the_exporter_are_left_out(tmp_path: Path) -> None:
    head = helper.make_node("Conv", ["centred", "aux"], ["auxiliary"], "aux_head")
    path = write_network(
        tmp_path / "net.onnx",
        tail=[head],
        outputs=[output("scores"), output("auxiliary")],
        constants={"aux": np.zeros((CLASSES, 8, 1, 1), np.float32)},
    )
    model = onnx.load(path)
    model.graph.node[0].metadata_props.add(key="stack", value="/home/me/secret.py")
    onnx.save(model, path)
    made = create(tmp_path, path, logits="scores")
    graph = onnx.load(made.bundle.stages[0].files[0].path).graph
    assert "network/aux_head" not in [node.name for node in graph.node]
    assert "network/aux" not in [tensor.name for tensor in graph.initializer]
    assert not any(node.metadata_props for node in graph.node)


def test_local_functions_are_inlined(tmp_path: Path, frame: np.ndarray) -> None:
    path = write_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    double = helper.make_node("Add", ["x", "x"], ["y"])
    opset = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("own", "Double", ["x"], ["y"], [double], opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Double", ["scores"], ["twice"], domain="own"))
    model.graph.output[0].CopyFrom(output("twice"))
    onnx.save(model, path)
    made = create(tmp_path, path)
    assert made.chosen.logits == "twice"
    assert check_bundle(made.bundle, "tensorrt")[0].findings == ()


# ---- the bundle round it


def test_the_detector_runs_the_bundle(tmp_path: Path, frame: np.ndarray) -> None:
    made = create(tmp_path, write_network(tmp_path / "net.onnx"), threshold=-100.0)
    camera = cv2.resize(frame[0], (100, 80))
    detector = Detector(made.bundle, backend="onnxruntime")
    (found,) = detector.detect([camera])
    detector.close()
    assert found.labels is not None and found.labels.shape == (80, 100)
    assert found.mask is not None and (found.mask == 255).all()


def test_the_yaml_tells_where_everything_came_from(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx", opset=13)
    create(tmp_path, model, "energy", preprocessing=IMAGENET, threshold=-3.5, name="mine")
    document = yaml.safe_load((tmp_path / "made/bundle.yaml").read_text())
    assert document["name"] == "mine"
    assert document["provenance"]["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    assert document["provenance"]["opset"] == 13
    assert document["operating_points"]["default"]["threshold"] == -3.5
    assert document["operating_points"]["road"]["focus"] == "road"
    assert document["stages"][0]["files"][0]["parity"]["label_agreement"] == 1.0
    card = (tmp_path / "made/MODEL_CARD.md").read_text()
    assert "minus 0.485, 0.456, 0.406" in card
    assert "Liu et al." in card


def test_bounded_scores_are_shown_from_0_to_1_and_others_as_they_fall(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx")
    assert create(tmp_path, model, "margin").bundle.score_display == (0.0, 1.0)
    low, high = create(tmp_path, model, "max_logit").bundle.score_display
    assert 0 != low < high != 1


def test_its_own_bundle_is_replaced_and_a_card_with_additions_kept(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx")
    card = tmp_path / "made/MODEL_CARD.md"
    create(tmp_path, model, "energy")
    made = create(tmp_path, model, "entropy")
    assert made.bundle.method == "entropy"
    assert "| score | entropy" in card.read_text()

    card.write_text(card.read_text() + "Trained on my street.\n")
    made = create(tmp_path, model, "margin")
    assert "| score | entropy" in card.read_text()
    assert any("has been added to and is kept" in note for note in made.notes)


def test_a_bundle_of_another_origin_is_not_overwritten(tiny: Path) -> None:
    model = write_network(tiny.parent / "net.onnx")
    before = (tiny / "bundle.yaml").read_bytes()
    with pytest.raises(BundleError, match="did not make, and it is not overwritten"):
        create_bundle(model, tiny, COLORS, Wishes("max_logit"))
    assert (tiny / "bundle.yaml").read_bytes() == before


@pytest.mark.parametrize("target", ["tensorrt", "onnxruntime-cpu"])
@pytest.mark.parametrize("score", SCORES)
def test_what_is_made_keeps_the_rules_of_every_backend(
    tmp_path: Path, score: str, target: str
) -> None:
    bgr = Preprocessing(channels="bgr", mean=IMAGENET.mean, std=IMAGENET.std)
    made = create(tmp_path, write_network(tmp_path / "net.onnx"), score, preprocessing=bgr)
    (report,) = check_bundle(made.bundle, target)
    assert report.findings == ()


# ---- networks that do not fit


def labels_only(tmp_path: Path, with_score: bool = False) -> Path:
    """A network that ends in class ids int64 [1, 1, h, w]."""
    tail = [helper.make_node("ArgMax", ["scores"], ["ids"], axis=1, keepdims=1)]
    outputs = [output("ids", TensorProto.INT64)]
    if with_score:
        tail.append(helper.make_node("ReduceMin", ["scores", "one"], ["unsure"], keepdims=0))
        outputs.append(output("unsure", rank=3))
    return write_network(
        tmp_path / "net.onnx",
        tail=tail,
        outputs=outputs,
        constants={"one": np.array([1], np.int64)} if with_score else None,
    )


def test_a_network_of_class_ids_only_needs_a_score_and_is_told_where_the_scores_are(
    tmp_path: Path,
) -> None:
    model = labels_only(tmp_path)
    said = refused(tmp_path, model)
    assert "gives class ids only (ids), and the score max_logit starts from class scores" in said
    assert "--logits scores" in said and "--score output:NAME" in said
    assert create(tmp_path, model, logits="scores").bundle.outputs()["logits"].shape[1] == CLASSES


def test_probabilities_are_no_logits_and_the_tensor_before_them_is_named(tmp_path: Path) -> None:
    model = write_network(
        tmp_path / "net.onnx",
        tail=[helper.make_node("Softmax", ["scores"], ["p"], axis=1)],
        outputs=[output("p")],
    )
    said = refused(tmp_path, model, "entropy")
    assert "p of net.onnx holds probabilities" in said and "--logits scores" in said
    assert create(tmp_path, model, "entropy", logits="scores").chosen.logits == "scores"


def test_logarithms_of_probabilities_have_no_energy(tmp_path: Path) -> None:
    model = write_network(
        tmp_path / "net.onnx",
        tail=[helper.make_node("LogSoftmax", ["scores"], ["log"], axis=1)],
        outputs=[output("log")],
    )
    assert "whose energy is 0 everywhere" in refused(tmp_path, model, "energy")
    assert create(tmp_path, model, "entropy").chosen.logits == "log"


def test_an_unknown_output_is_named_with_those_there_are(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx")
    assert "has no such output; it has scores" in refused(tmp_path, model, logits="logit")
    assert "--score output:nothing: net.onnx has no such output" in refused(
        tmp_path, model, "output:nothing"
    )


def test_several_outputs_that_could_be_logits_are_listed(tmp_path: Path) -> None:
    model = write_network(
        tmp_path / "net.onnx",
        tail=[helper.make_node("Neg", ["scores"], ["other"])],
        outputs=[output("scores"), output("other")],
    )
    said = refused(tmp_path, model)
    assert "scores float32 [1, 5, 16, 32]; other float32 [1, 5, 16, 32]" in said
    assert "--logits" in said


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx")
    with pytest.raises(BundleError, match=r"no output of 4 class scores.*\[1, 5, 16, 32\]"):
        create_bundle(model, tmp_path / "made", COLORS[:4], Wishes("max_logit"))


def test_other_channel_counts_than_three_are_refused(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx", channels=4)
    assert "found 4 channels: only networks of RGB" in refused(tmp_path, model)


@pytest.mark.parametrize(("is_", "said_to_be"), [("nchw", "nhwc"), ("nhwc", "nchw")])
def test_a_wrong_layout_is_recognised(tmp_path: Path, is_: str, said_to_be: str) -> None:
    model = write_network(tmp_path / "net.onnx", layout=is_)
    said = refused(tmp_path, model, preprocessing=Preprocessing(said_to_be))
    assert f"give --layout {is_}" in said


def test_an_open_size_has_to_be_given_and_a_fixed_one_kept(tmp_path: Path) -> None:
    dynamic = write_network(tmp_path / "net.onnx", size=("h", "w"))
    assert "give --input HEIGHTxWIDTH" in refused(tmp_path, dynamic)
    fixed = write_network(tmp_path / "net.onnx")
    assert "fixes the size 32x64, and --input asks for 64x64" in refused(
        tmp_path, fixed, size=(64, 64)
    )


def test_a_batch_is_refused(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx", batch=2)
    assert "found a batch of 2" in refused(tmp_path, model)


def test_half_precision_ends_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    half = onnx.load(path)
    half.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    half.graph.node.insert(0, helper.make_node("Cast", ["input"], ["x"], to=1))
    half.graph.node[1].input[0] = "x"
    onnx.save(half, tmp_path / "half.onnx")
    assert "keep_io_types" in refused(tmp_path, tmp_path / "half.onnx")

    tail = [helper.make_node("Cast", ["scores"], ["small"], to=TensorProto.FLOAT16)]
    model = write_network(path, tail=tail, outputs=[output("small", TensorProto.FLOAT16)])
    said = refused(tmp_path, model)
    assert "small float16" in said and "keep_io_types" in said


def test_an_opset_from_the_future_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.opset_import[0].version = 99
    onnx.save(model, path)
    assert "opset 99" in refused(tmp_path, path)


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("noise", 1, [1, 8]))
    onnx.save(model, path)
    assert "has 2 inputs" in refused(tmp_path, path)


def test_missing_side_files_and_other_files_are_refused(tmp_path: Path) -> None:
    path = write_network(tmp_path / "net.onnx")
    onnx.save(
        onnx.load(path), path, save_as_external_data=True, location="net.data", size_threshold=0
    )
    (tmp_path / "net.data").unlink()
    assert "keeps weights in 'net.data', which is not beside it" in refused(tmp_path, path)
    (tmp_path / "net.onnx").write_bytes(b"a text, no network")
    assert "is no ONNX model" in refused(tmp_path, path)
    assert "there is no file" in refused(tmp_path, tmp_path / "nowhere.onnx")


def test_networks_above_the_limit_of_a_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_network(tmp_path / "net.onnx")
    monkeypatch.setattr("anomaly_seg_ros.creation.network.FILE_LIMIT", 100)
    assert "stay below 2 GB" in refused(tmp_path, model)


def test_a_network_that_does_not_run_at_its_size_is_refused(tmp_path: Path) -> None:
    tail = [helper.make_node("Reshape", ["scores", "shape"], ["fixed"])]
    model = write_network(
        tmp_path / "net.onnx",
        size=("h", "w"),
        tail=tail,
        outputs=[output("fixed")],
        constants={"shape": np.array([1, CLASSES, 16, 32], np.int64)},
    )
    assert "does not run at 40x64" in refused(tmp_path, model, size=(40, 64))
    assert create(tmp_path, model, size=(32, 64)).parity["label_agreement"] == 1


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    model = write_network(tmp_path / "net.onnx", scale=float("nan"))
    assert "values that are not finite" in refused(tmp_path, model)


def test_unknown_scores_are_refused(tmp_path: Path) -> None:
    said = refused(tmp_path, write_network(tmp_path / "net.onnx"), "mahalanobis")
    assert "expected max_logit, max_softmax, entropy, energy, margin, or output:NAME" in said


@pytest.mark.parametrize("name", ["logits", "score", "labels"])
def test_the_parity_gate_refuses_what_differs(name: str) -> None:
    rng = np.random.default_rng(0)
    wanted = {
        "logits": rng.normal(size=(1, 3, 8, 8)),
        "score": rng.normal(size=(1, 8, 8)),
        "labels": rng.integers(0, 3, (1, 8, 8)),
    }
    found = {key: value.copy() for key, value in wanted.items()}
    assert measure([wanted], [found])["label_agreement"] == 1
    found[name][0, ..., 0] += 1
    with pytest.raises(BundleError, match="does not compute what the network does"):
        measure([wanted], [found])


# ---- the command


def test_the_command_prints_what_was_made_and_check_is_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_network(tmp_path / "net.onnx", opset=13, size=("h", "w"))
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    out = str(tmp_path / "made")
    arguments = ["--classes", str(tmp_path / "names.txt"), "--score", "entropy", "--out", out]
    options = ["--input", "64x128", "--mean", "0.5", "--std", "0.2,0.2,0.3", "--fit", "crop"]
    assert main(["bundle", "create", str(model), *arguments, *options]) == 0
    shown = capsys.readouterr().out
    assert "net.onnx, opset 13, brought to 18" in shown
    assert "minus 0.5, 0.5, 0.5, divided by 0.2, 0.2, 0.3" in shown
    assert "drivable: road" in shown
    assert "logits_max_error" in shown
    assert "note: the threshold is only a first value" in shown
    assert "note: no --mean" not in shown
    assert Bundle.open(out).input.fit == "crop"
    assert main(["bundle", "check", out]) == 0
    assert main(["bundle", "check", out, "--target", "tensorrt"]) == 0


def test_the_command_explains_wrong_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_network(tmp_path / "net.onnx")
    required = ["--classes", "camvid", "--score", "energy", "--out", str(tmp_path / "made")]
    with pytest.raises(SystemExit):
        main(["bundle", "create", str(model), *required, "--mean", "1,2"])
    assert "'1,2' is not one number or three" in capsys.readouterr().err
    assert main(["bundle", "create", str(model), *required, "--std", "0"]) == 2
    assert "std above 0" in capsys.readouterr().err


def test_without_the_onnx_package_the_mend_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    required = ["--classes", "camvid", "--score", "energy", "--out", str(tmp_path / "made")]
    assert main(["bundle", "create", "net.onnx", *required]) == 2
    assert "pip install 'onnx>=1.17'" in capsys.readouterr().err
    assert main(["bundle", "check", "--target", "tensorrt"]) == 2
    assert "needs the Python package onnx" in capsys.readouterr().err
