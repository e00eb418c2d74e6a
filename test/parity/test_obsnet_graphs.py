"""ObsNet's exported graphs in ONNX Runtime against the numbers of the official code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from golden import vectors
from obsnet_golden import (
    DEEPLAB,
    OBSERVER,
    SEGNET,
    TRUNKS,
    assert_mostly_equal,
    assert_mostly_near,
    assert_relatively_near,
    assert_sample,
    network,
    normalised,
    state_dict,
)

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.detector import Detector
from training.export import OPSET, export_stages
from training.methods.obsnet.import_command import import_obsnet
from training.methods.obsnet.paper_pipeline import paper_stages
from training.methods.obsnet.published import (
    BDD_ANOMALY,
    CITYSCAPES_TRAIN,
    STREET_HAZARDS,
    Trained,
)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Seeded checkpoints as files of the published kinds, imported at the size of the vectors."""
    folder = tmp_path_factory.mktemp("import")
    size = vectors("obsnet", "segnet_obsnet")["image"].shape[:2]
    torch.save(state_dict(SEGNET), folder / "segnet.pth")
    parallel = {f"module.{key}": value for key, value in state_dict(OBSERVER).items()}
    torch.save({"state_dict": parallel}, folder / "best.pth")
    return import_obsnet(
        SEGNET, folder / "segnet.pth", folder / "best.pth", folder / "bundle", size=size
    )


def test_the_imported_graphs_give_the_golden_numbers(imported: Bundle) -> None:
    golden = vectors("obsnet", "segnet_obsnet")
    with Detector(imported, backend="onnxruntime") as detector:
        answer = detector.runner.run(golden["image"][None], tuple(imported.outputs())).arrays

    features = [name for name in imported.outputs() if name.startswith("features_")]
    for index, name in enumerate(features):
        assert_sample(torch.from_numpy(answer[name]), golden, f"feat{index}")
    assert_mostly_near(answer["logits"], golden["seg_logits"])
    assert_mostly_near(answer["score"], 1 / (1 + np.exp(-golden["obs_logits"][:, 0])))


def test_the_detector_on_the_imported_bundle_gives_the_golden_score(imported: Bundle) -> None:
    golden = vectors("obsnet", "scores_segnet_camvid")
    with Detector(Bundle.open(imported.folder), backend="onnxruntime") as detector:
        [found] = detector.detect(golden["image"])

    assert_mostly_near(found.score, golden["obsnet_sigmoid"])
    assert_mostly_equal(found.labels, golden["pred"])
    assert found.mask is not None and found.score is not None
    np.testing.assert_array_equal(found.mask == 255, found.score >= 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "segmentation", "observer", "trained"),
    [
        ("deeplabv3plus_bdd19", f"{DEEPLAB}_bdd19", f"{DEEPLAB}_bdd19_obsnet", BDD_ANOMALY),
        (
            "deeplabv3plus_streethazards14",
            f"{DEEPLAB}_streethazards14",
            f"{DEEPLAB}_streethazards14_obsnet",
            STREET_HAZARDS,
        ),
        (
            "deepwv3plus_cityscapes19",
            "deepwv3plus_cityscapes19",
            "deepwv3plus_obsnet",
            CITYSCAPES_TRAIN,
        ),
    ],
    ids=["deeplab-19", "deeplab-14", "deepwv3plus"],
)
def test_exported_pairs_give_the_golden_numbers(
    file: str, segmentation: str, observer: str, trained: Trained, tmp_path: Path
) -> None:
    golden = vectors("obsnet", f"{file}_var4")
    networks = (network(segmentation, variance=4.0), network(observer, variance=4.0))
    stages = paper_stages(*networks, trained)
    image = golden["image"][None]

    exported = export_stages(stages, [image], tmp_path, rounded=False)

    arrays = {"image": image}
    for stage, done in zip(stages, exported, strict=True):
        session = onnxruntime.InferenceSession(done.file)
        feeds = {name: arrays[name] for name in stage.inputs}
        arrays.update(zip(stage.outputs, session.run(stage.outputs, feeds), strict=True))
    assert_relatively_near(arrays["logits"][..., ::2, ::2], golden["seg_logits_s2"])
    assert_mostly_equal(arrays["labels"], golden["pred"])
    assert_mostly_near(arrays["score"], golden["obs_sigmoid"][:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("trunk", TRUNKS)
def test_exported_trunks_give_the_golden_numbers(trunk: str, tmp_path: Path) -> None:
    golden = vectors("obsnet", f"deepv3plus_{trunk}_var4")
    image = normalised(golden["image"], CITYSCAPES_TRAIN)
    torch.onnx.export(
        network(f"deepv3plus_{trunk}_m1_19", variance=4.0),
        (image,),
        tmp_path / "network.onnx",
        input_names=["image"],
        dynamo=True,
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )

    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    [logits] = session.run(None, {"image": image.numpy()})

    assert_relatively_near(logits[..., ::2, ::2], golden["seg_logits_s2"])
    assert_mostly_equal(logits.argmax(1), golden["pred"])
