import cv2
import numpy as np
import pytest

from training.data.label_spaces import OUTLIER, VOID
from training.data.labelled_frames import DatasetError
from training.data.outliers import Cutouts, paste_outlier


def magenta_disc() -> Cutouts:
    image = np.zeros((64, 64, 4), np.uint8)
    cv2.circle(image, (32, 32), 30, (255, 0, 255, 255), -1)
    return Cutouts((image,), (True,))


def paste(seed: int, **options) -> tuple[np.ndarray, np.ndarray]:
    image, label = np.full((120, 200, 3), 90, np.uint8), np.zeros((120, 200), np.uint8)
    paste_outlier(image, label, magenta_disc(), np.random.default_rng(seed), **options)
    return image, label


def test_the_same_seed_pastes_the_same_pixels():
    first, second = paste(3), paste(3)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_labels_are_known_outlier_or_void():
    seen = set()
    for seed in range(40):
        seen |= set(np.unique(paste(seed)[1]))
    assert seen == {0, OUTLIER, VOID}


def test_pixels_away_from_object_and_shadow_stay_untouched():
    for seed in range(20):
        image, label = paste(seed)
        near = cv2.dilate((label != 0).astype(np.uint8), np.ones((61, 121), np.uint8))
        assert (image[near == 0] == 90).all()


def test_objects_are_narrowed_in_a_squashed_frame():
    aspects = {1.0: [], 2.0: []}
    for stretch, widths in aspects.items():
        for seed in range(120):
            label = paste(seed, stretch=stretch, texture_share=0.0)[1] == OUTLIER
            rows, columns = label.any(axis=1).sum(), label.any(axis=0).sum()
            inside = not (label[0].any() or label[-1].any() or label[:, 0].any())
            if inside and not label[:, -1].any() and rows > 12:
                widths.append(columns / rows)
    assert np.median(aspects[2.0]) == pytest.approx(np.median(aspects[1.0]) / 2, rel=0.15)


def test_a_folder_without_table_names_the_missing_file(tmp_path):
    with pytest.raises(DatasetError, match=r"cutouts\.csv"):
        Cutouts.read(tmp_path, "train")
