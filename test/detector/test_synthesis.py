"""Bundles of three stages: the resynthesised image and other maps beside score and mask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny_bundle import (
    ANOMALY_COLOR,
    CLASS_COLORS,
    CLASS_NAMES,
    SCORE_RADIUS,
    dissimilarity_graph,
    resynthesis_description,
    resynthesis_graph,
    segmentation_graph,
)

from anomaly_seg_ros.bundle import Bundle, write_bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import DetectorError

SKY = CLASS_COLORS[CLASS_NAMES.index("sky")]
BLACK = (0, 0, 0)
BOX = (slice(80, 112), slice(96, 144))
INSIDE_BOX = (slice(88, 104), slice(104, 136))


@pytest.fixture
def resynthesis(resynthesis_bundles: dict[str, Bundle]) -> Iterator[Detector]:
    with Detector(resynthesis_bundles["squash"], "onnxruntime", threads=1) as detector:
        yield detector


def spoilt(folder: Path, tensor: str, value: float) -> Bundle:
    """The three stages with one value in place of every class colour or of the score's radius."""
    graphs = {
        "segmentation": segmentation_graph(64, 128),
        "resynthesis": resynthesis_graph(64, 128),
        "dissimilarity": dissimilarity_graph(64, 128),
    }
    constant = next(t for g in graphs.values() for t in g.graph.initializer if t.name == tensor)
    values = np.full_like(onnx.numpy_helper.to_array(constant), value)
    constant.CopyFrom(onnx.numpy_helper.from_array(values, tensor))
    for stage, graph in graphs.items():
        onnx.save(graph, folder / f"{stage}.onnx")
    return write_bundle(
        folder / "spoilt",
        description=resynthesis_description(),
        stage_files={stage: {"fp32": folder / f"{stage}.onnx"} for stage in graphs},
    )


# --- the synthesis ---------------------------------------------------------------------------


def test_the_synthesis_is_a_picture_of_the_cameras_size(
    resynthesis: Detector, road: np.ndarray
) -> None:
    synthesis = resynthesis.detect(road, ["synthesis"])[0].extras["synthesis"]
    assert (synthesis.dtype, synthesis.shape) == (np.uint8, (128, 256, 3))
    assert synthesis.flags.c_contiguous


def test_the_synthesis_shows_the_classes_and_not_the_unknown_object(
    resynthesis: Detector, road: np.ndarray
) -> None:
    image = road.copy()
    image[BOX] = ANOMALY_COLOR  # the class nearest to it is sky
    found = resynthesis.detect(image, ["labels", "score", "mask", "synthesis"])[0]
    synthesis = found.extras["synthesis"]
    assert (synthesis[:60] == SKY).all() and (synthesis[INSIDE_BOX] == SKY).all()
    assert (synthesis[116:] == CLASS_COLORS[0]).all()
    assert (found.mask[INSIDE_BOX] == 255).all() and not found.mask[:60].any()


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(96, 128), (90, 160), (200, 100), (128, 512)])
def test_the_synthesis_lies_on_the_camera_image_in_every_fit(
    resynthesis_bundles: dict[str, Bundle], fit: str, size: tuple[int, int]
) -> None:
    image = np.empty((*size, 3), np.uint8)
    image[:, : size[1] // 2], image[:, size[1] // 2 :] = CLASS_COLORS[0], CLASS_COLORS[13]
    with Detector(resynthesis_bundles[fit], threads=1) as detector:
        (found,) = detector.detect(image, ["score", "synthesis"])
    seen = ~np.isnan(found.score)
    synthesis = found.extras["synthesis"]
    assert (synthesis[~seen] == BLACK).all()
    near_the_edge = np.zeros(size, bool)
    border = 6 * -(-max(size) // 64)
    near_the_edge[:, size[1] // 2 - border : size[1] // 2 + border] = True
    away = seen & ~near_the_edge
    assert away.mean() > 0.1
    np.testing.assert_array_equal(synthesis[away], image[away])


def test_colours_outside_0_to_1_are_clipped(tmp_path: Path, road: np.ndarray) -> None:
    for number, (value, expected) in enumerate(((1.5, 255), (-0.5, 0), (0.5, 128))):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Detector(spoilt(folder, "colors", value)) as detector:
            synthesis = detector.detect(road, ["synthesis"])[0].extras["synthesis"]
        assert (synthesis == expected).all()


def test_a_synthesis_that_is_not_finite_names_its_stage(tmp_path: Path, road: np.ndarray) -> None:
    with Detector(spoilt(tmp_path, "colors", np.nan)) as detector:
        with pytest.raises(DetectorError, match="stage resynthesis gave a synthesis with 6144 of"):
            detector.detect(road, ["synthesis"])
        with pytest.raises(DetectorError, match="stage dissimilarity gave a perceptual_difference"):
            detector.detect(road, ["perceptual_difference"])


def test_several_images_of_several_sizes_each_have_their_own(
    resynthesis: Detector, road: np.ndarray
) -> None:
    images = [road, np.ascontiguousarray(road[::-2, ::2]), np.full_like(road, SKY)]
    for image, found in zip(images, resynthesis.detect(images, ["synthesis"]), strict=True):
        alone = resynthesis.detect(image, ["synthesis"])[0].extras["synthesis"]
        assert alone.shape == image.shape
        np.testing.assert_array_equal(found.extras["synthesis"], alone)


# --- other maps ------------------------------------------------------------------------------


def test_other_maps_are_enlarged_as_the_score_is(
    resynthesis_bundles: dict[str, Bundle], road: np.ndarray
) -> None:
    image = np.roll(road, 40, axis=0)
    image[BOX] = (100, 100, 100)
    for fit in ("squash", "crop"):
        with Detector(resynthesis_bundles[fit]) as detector:
            camera = image if fit == "squash" else image[:, :180]
            (found,) = detector.detect(camera, ["score", "perceptual_difference"])
        difference = found.extras["perceptual_difference"]
        assert difference.dtype == np.float32 and difference.shape == camera.shape[:2]
        assert np.isnan(difference).any() == (fit == "crop")
        np.testing.assert_allclose(difference * 255 / SCORE_RADIUS, found.score, atol=1e-5)
        assert np.nanmax(found.score) > 0.1


def test_maps_and_extras_are_found_by_name(resynthesis: Detector, road: np.ndarray) -> None:
    (found,) = resynthesis.detect(road, ["mask", "synthesis", "features_4"])
    assert found.array("mask") is found.mask
    assert found.array("synthesis") is found.extras["synthesis"]
    assert found.array("features_4").shape == (3, 16, 32)  # a tap, as the network makes it
    assert found.array("score") is None and found.array("perceptual_difference") is None


# --- what runs, and what is not there --------------------------------------------------------


def test_stages_that_nothing_wanted_needs_do_not_run(
    resynthesis: Detector, road: np.ndarray
) -> None:
    stages = ["segmentation", "resynthesis", "dissimilarity"]
    for wanted, count in (("labels", 1), ("synthesis", 2), ("score", 3), ("mask", 3)):
        seconds = resynthesis.detect(road, [wanted])[0].seconds
        assert [name for name in seconds if name in stages] == stages[:count]


def test_a_bundle_without_synthesis_says_what_it_makes(
    detector: Detector, road: np.ndarray
) -> None:
    with pytest.raises(
        DetectorError,
        match="bundle tiny makes no synthesis; it makes labels, score, mask, logits, features_4",
    ):
        detector.detect(road, ["mask", "synthesis"])
