"""The detector on pictures whose labels, scores and masks are known beforehand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from tiny_bundle import (
    ANOMALY_COLOR,
    CLASS_COLORS,
    observer_graph,
    segmentation_graph,
    tiny_description,
)

from anomaly_seg_ros.bundle import Bundle, write_bundle
from anomaly_seg_ros.detector import Detector
from anomaly_seg_ros.errors import BackendError, BundleError, DetectorError

ROAD, SKY = 0, 10


def with_box(image: np.ndarray, top: int, left: int, height: int, width: int) -> np.ndarray:
    """A copy with an unknown object in it."""
    copy = image.copy()
    copy[top : top + height, left : left + width] = ANOMALY_COLOR
    return copy


# --- what comes out --------------------------------------------------------------------------


def test_maps_have_the_cameras_size_and_the_promised_types(
    detector: Detector, road: np.ndarray
) -> None:
    (found,) = detector.detect(road)
    assert found.labels is not None and found.score is not None and found.mask is not None
    for array, dtype in ((found.labels, "uint8"), (found.score, "float32"), (found.mask, "uint8")):
        assert array.shape == (128, 256) and array.dtype == dtype and array.flags.c_contiguous


def test_labels_are_those_of_the_painted_classes(detector: Detector, road: np.ndarray) -> None:
    labels = detector.detect(road)[0].labels
    assert (labels[:64] == SKY).all() and (labels[64:] == ROAD).all()


def test_an_unknown_object_is_masked_where_it_stands(detector: Detector, road: np.ndarray) -> None:
    mask = detector.detect(with_box(road, 80, 96, 32, 48))[0].mask
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[84:108, 100:140] == 255).all()
    outside = mask.copy()
    outside[76:116, 92:148] = 0
    assert not outside.any()


def test_the_mask_is_the_published_score_at_the_threshold(
    detector: Detector, road: np.ndarray
) -> None:
    image = cv2.GaussianBlur(with_box(road, 40, 96, 60, 80), (0, 0), 6)
    for threshold in (0.1, 0.5, 0.9):
        detector.threshold = threshold
        (found,) = detector.detect(image)
        expected = np.where(found.score >= np.float32(threshold), 255, 0)
        np.testing.assert_array_equal(found.mask, expected)
        assert 0 < np.count_nonzero(found.mask) < found.mask.size


def test_the_mask_alone_is_the_same_mask(detector: Detector, road: np.ndarray) -> None:
    image = with_box(road, 40, 96, 60, 80)
    everything, alone = detector.detect(image)[0], detector.detect(image, ["mask"])[0]
    assert alone.labels is None and alone.score is None
    np.testing.assert_array_equal(alone.mask, everything.mask)


def test_the_same_image_gives_the_same_bits(bundle: Bundle, road: np.ndarray) -> None:
    image = cv2.GaussianBlur(with_box(road, 40, 96, 60, 80), (0, 0), 6)
    with Detector(bundle, threads=1) as one, Detector(bundle, threads=2) as two:
        results = [d.detect(image)[0] for d in (one, two, one)]
    for result in results[1:]:
        np.testing.assert_array_equal(result.labels, results[0].labels)
        np.testing.assert_array_equal(result.score, results[0].score)
        np.testing.assert_array_equal(result.mask, results[0].mask)


def test_extras_come_as_the_network_makes_them(detector: Detector, road: np.ndarray) -> None:
    (found,) = detector.detect(road, ["features_4", "logits"])
    assert found.labels is None and found.mask is None
    assert {name: array.shape for name, array in found.extras.items()} == {
        "features_4": (3, 16, 32),
        "logits": (19, 16, 32),
    }


def test_steps_that_nothing_wanted_needs_are_left_out(detector: Detector, road: np.ndarray) -> None:
    stages = {
        ("labels",): {"segmentation"},
        ("mask",): {"segmentation", "observer"},
        ("features_4",): {"segmentation"},
        (): set(),
    }
    for wanted, expected in stages.items():
        seconds = detector.detect(road, wanted)[0].seconds
        assert set(seconds) == expected | {"fit", "run", "finish"}


# --- several images --------------------------------------------------------------------------


def test_several_images_of_several_sizes_make_a_batch(detector: Detector, road: np.ndarray) -> None:
    images = [with_box(road, 80, 96, 32, 48), np.ascontiguousarray(road[::2, ::2]), road]
    together = detector.detect(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = detector.detect([image])
        assert found.mask.shape == image.shape[:2]
        np.testing.assert_array_equal(found.mask, alone.mask)
        np.testing.assert_array_equal(found.score, alone.score)
        np.testing.assert_array_equal(found.labels, alone.labels)


def test_an_array_of_four_dimensions_is_a_batch(detector: Detector, road: np.ndarray) -> None:
    assert len(detector.detect(np.stack([road, road]))) == 2


def test_no_images_give_no_detections(detector: Detector) -> None:
    assert detector.detect([]) == []


def test_mirrored_views_are_read_as_they_look(detector: Detector, road: np.ndarray) -> None:
    image = with_box(road, 80, 16, 32, 48)
    mirrored = detector.detect(image[:, ::-1])[0].mask
    np.testing.assert_array_equal(mirrored[:, ::-1], detector.detect(image)[0].mask)


def test_more_camera_sizes_than_are_kept_still_work(detector: Detector) -> None:
    for size in [*range(40, 60), 40]:
        image = np.full((size, 2 * size, 3), CLASS_COLORS[ROAD], np.uint8)
        assert (detector.detect(image)[0].labels == ROAD).all()


# --- fits ------------------------------------------------------------------------------------


def test_what_a_crop_leaves_out_is_255_nan_and_0(bundles: dict[str, Bundle]) -> None:
    image = np.full((128, 128, 3), ANOMALY_COLOR, np.uint8)  # the network sees its middle rows
    with Detector(bundles["crop"]) as detector:
        (found,) = detector.detect(image)
    looked = slice(32, 96)
    assert (found.mask[looked] == 255).all() and not np.isnan(found.score[looked]).any()
    assert (found.labels[looked] != 255).all()
    for outside in (slice(0, 32), slice(96, 128)):
        assert (found.labels[outside] == 255).all()
        assert np.isnan(found.score[outside]).all()
        assert not found.mask[outside].any()


@pytest.mark.parametrize("fit", ["squash", "letterbox", "crop"])
@pytest.mark.parametrize("size", [(96, 128), (90, 160), (300, 100), (33, 35)])
def test_an_object_is_found_where_it_stands_in_every_fit(
    bundles: dict[str, Bundle], fit: str, size: tuple[int, int]
) -> None:
    height, width = size
    image = np.full((height, width, 3), CLASS_COLORS[ROAD], np.uint8)
    rows = slice(height // 4, height * 3 // 4)
    columns = slice(width // 5, width * 4 // 5)
    image[rows, columns] = ANOMALY_COLOR
    with Detector(bundles[fit], threshold=0.05) as detector:  # cells that it covers by two thirds
        (found,) = detector.detect(image)
    mask = found.mask == 255
    truth = np.zeros(size, bool)
    truth[rows, columns] = True
    truth &= ~np.isnan(found.score)  # what a crop leaves out cannot be found
    assert (mask & truth).sum() / (mask | truth).sum() > 0.6


# --- thresholds and operating points ---------------------------------------------------------


def test_the_named_operating_point_is_in_force(bundle: Bundle) -> None:
    with Detector(bundle, operating_point="strict") as detector:
        assert detector.operating_point == bundle.operating_points["strict"]
        assert detector.threshold == 0.9


def test_own_threshold_and_focus_take_the_place_of_the_points(bundle: Bundle) -> None:
    with Detector(bundle, operating_point="strict", threshold=0.3, focus="road") as detector:
        assert (detector.operating_point.name, detector.operating_point.focus) == ("strict", "road")
        assert detector.operating_point.threshold == detector.threshold == 0.3


def test_the_operating_point_changes_while_frames_flow(
    detector: Detector, road: np.ndarray
) -> None:
    image = with_box(road, 80, 96, 32, 48)
    image = cv2.addWeighted(image, 0.85, road, 0.15, 0)  # a pale object: score 0.6 or so
    assert detector.detect(image)[0].mask.any()
    detector.operating_point = "strict"
    assert detector.threshold == 0.9
    assert not detector.detect(image)[0].mask.any()
    detector.threshold = 0.2
    assert detector.detect(image)[0].mask.any()
    detector.operating_point = "default"
    assert detector.threshold == 0.5


def test_an_own_focus_outlives_the_operating_point_and_can_be_taken_back(bundle: Bundle) -> None:
    with Detector(bundle, focus="road") as detector:
        detector.operating_point = "strict"
        assert detector.focus == "road"
        detector.focus = None
        assert detector.focus == "everywhere"


def test_small_regions_are_dropped_whole(detector: Detector, road: np.ndarray) -> None:
    image = with_box(with_box(road, 80, 32, 16, 16), 80, 160, 32, 48)  # 4 and 24 cells
    detector.operating_point = "large"
    mask = detector.detect(image)[0].mask
    assert not mask[:, :120].any()
    assert (mask[84:108, 164:204] == 255).all()


def test_kept_regions_keep_the_published_score_at_the_threshold(
    bundle: Bundle, road: np.ndarray
) -> None:
    image = cv2.GaussianBlur(with_box(road, 80, 96, 36, 60), (0, 0), 3)
    with Detector(bundle, operating_point="large") as detector:
        (found,) = detector.detect(image)
    np.testing.assert_array_equal(found.mask == 255, found.score >= np.float32(0.5))


# --- focus -----------------------------------------------------------------------------------


def test_the_focus_road_keeps_what_stands_on_the_road_and_drops_the_sky(
    detector: Detector, road: np.ndarray
) -> None:
    image = with_box(with_box(road, 8, 32, 24, 32), 32, 160, 64, 48)  # floating, and standing
    detector.operating_point = "road"
    mask = detector.detect(image)[0].mask
    assert not mask[:, :120].any()
    assert (mask[36:92, 164:204] == 255).all()  # above the horizon too
    detector.focus = "everywhere"
    assert (detector.detect(image)[0].mask[12:28, 36:60] == 255).all()


def test_the_focus_road_needs_no_labels_from_the_caller(
    detector: Detector, road: np.ndarray
) -> None:
    detector.operating_point = "road"
    (found,) = detector.detect(with_box(road, 80, 96, 32, 48), ["mask"])
    assert found.labels is None and found.mask.any()


def test_without_any_road_in_the_picture_nothing_is_narrowed(
    detector: Detector, road: np.ndarray
) -> None:
    image = with_box(np.full_like(road, CLASS_COLORS[2]), 20, 96, 32, 48)
    detector.operating_point = "road"
    narrowed = detector.detect(image)[0].mask
    detector.operating_point = "default"
    np.testing.assert_array_equal(narrowed, detector.detect(image)[0].mask)
    assert narrowed.any()


def test_the_padding_of_a_letterbox_is_no_road(bundles: dict[str, Bundle]) -> None:
    # 128x128 in 64x128: bars left and right. Gray bars are class pole; here that is drivable.
    pole = 5
    image = np.full((128, 128, 3), CLASS_COLORS[SKY], np.uint8)
    image[100:] = CLASS_COLORS[pole]
    image = with_box(image, 8, 40, 32, 32)  # in the sky, between the bars
    with Detector(bundles["letterbox"], focus="road") as detector:
        detector._drivable[:] = 0
        detector._drivable[pole] = 1
        assert not detector.detect(image)[0].mask.any()
        image[40:112, 40:72] = ANOMALY_COLOR  # now it stands on the ground
        assert (detector.detect(image)[0].mask[16:100, 44:68] == 255).all()


# --- region ----------------------------------------------------------------------------------


def test_only_the_region_is_masked(bundle: Bundle, road: np.ndarray, tmp_path: Path) -> None:
    region = np.zeros((128, 256), np.uint8)
    region[:, :120] = 7  # any value but 0
    cv2.imwrite(str(tmp_path / "region.png"), region)
    image = with_box(road, 80, 96, 32, 48)
    for given in (region, region > 0, tmp_path / "region.png", str(tmp_path / "region.png")):
        with Detector(bundle, region=given) as detector:
            (found,) = detector.detect(image)
        assert (found.mask[84:108, 100:120] == 255).all()
        assert not found.mask[:, 120:].any()
        assert found.score[96, 130] > 0.9  # the score is not narrowed


def test_a_region_of_another_size_is_an_error_with_both_sizes(
    bundle: Bundle, road: np.ndarray
) -> None:
    with (
        Detector(bundle, region=np.ones((64, 256), np.uint8)) as detector,
        pytest.raises(DetectorError, match="the region is 64x256 but the camera image is 128x256"),
    ):
        detector.detect(road)


def test_a_region_that_is_none_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    cv2.imwrite(str(tmp_path / "rgb.png"), np.ones((4, 4, 3), np.uint8))
    for region, expected in (
        (tmp_path / "none.png", "none.png is missing"),
        (tmp_path / "text.png", "is no image that OpenCV reads"),
        (tmp_path / "rgb.png", r"has shape \[4, 4, 3\]; expected one channel"),
        (np.zeros((4, 4), np.uint8), "is zero everywhere"),
    ):
        with pytest.raises(DetectorError, match=expected):
            Detector(bundle, region=region)


# --- wrong calls -----------------------------------------------------------------------------

WRONG_IMAGES = {
    "float": (np.zeros((8, 8, 3), np.float32), r"image 0 is float32 \[8, 8, 3\]; expected uint8"),
    "gray": ([np.zeros((8, 8), np.uint8)], r"image 0 is uint8 \[8, 8\]"),
    "alpha": (np.zeros((8, 8, 4), np.uint8), r"image 0 is uint8 \[8, 8, 4\]"),
    "empty": (np.zeros((0, 8, 3), np.uint8), r"image 0 is uint8 \[0, 8, 3\]"),
    "second": ([np.zeros((8, 8, 3), np.uint8), "image.png"], "image 1 is str"),
}


@pytest.mark.parametrize("images, expected", WRONG_IMAGES.values(), ids=WRONG_IMAGES)
def test_a_wrong_image_is_one_clear_error(
    detector: Detector, images: list[np.ndarray], expected: str
) -> None:
    with pytest.raises(DetectorError, match=expected):
        detector.detect(images)


def test_unknown_names_list_what_there_is(bundle: Bundle, road: np.ndarray) -> None:
    with pytest.raises(DetectorError, match=r"no operating point 'fpr99'; it has default, strict"):
        Detector(bundle, operating_point="fpr99")
    with pytest.raises(DetectorError, match="unknown focus 'sky'; expected one of everywhere"):
        Detector(bundle, focus="sky")
    with Detector(bundle) as detector:
        with pytest.raises(
            DetectorError, match="bundle tiny makes no depth; it makes labels, score"
        ):
            detector.detect(road, ["mask", "depth"])
        with pytest.raises(DetectorError, match="'mask'; expected a list of names"):
            detector.detect(road, "mask")
        with pytest.raises(DetectorError, match="no operating point 'x'"):
            detector.operating_point = "x"
        with pytest.raises(DetectorError, match="unknown focus 'sky'"):
            detector.focus = "sky"
    with pytest.raises(BundleError, match="no bundle 'nowhere'"):
        Detector("nowhere")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None])
def test_a_threshold_that_is_no_number_is_refused(detector: Detector, value: float) -> None:
    with pytest.raises(DetectorError, match="expected a finite number"):
        detector.threshold = value
    assert detector.threshold == 0.5


def test_after_close_the_detector_says_so(bundle: Bundle, road: np.ndarray) -> None:
    detector = Detector(bundle)
    detector.close()
    with pytest.raises(BackendError, match="closed"):
        detector.detect(road)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_names_the_stage(
    tmp_path: Path, road: np.ndarray, value: float
) -> None:
    observer = observer_graph(64, 128)
    target = next(tensor for tensor in observer.graph.initializer if tensor.name == "target")
    spoilt = np.full((1, 3, 1, 1), value, np.float32)
    target.CopyFrom(onnx.numpy_helper.from_array(spoilt, "target"))
    observer.graph.node.pop()  # the clip to 0..1
    observer.graph.node[-1].output[0] = "score"
    onnx.save(observer, tmp_path / "observer.onnx")
    onnx.save(segmentation_graph(64, 128), tmp_path / "segmentation.onnx")
    broken = write_bundle(
        tmp_path / "broken",
        description=tiny_description(),
        stage_files={s: {"fp32": tmp_path / f"{s}.onnx"} for s in ("segmentation", "observer")},
    )
    with Detector(broken) as detector:
        with pytest.raises(DetectorError, match="stage observer gave a score with 512 of 512"):
            detector.detect(road)
        assert (detector.detect(road, ["labels"])[0].labels[64:] == ROAD).all()
