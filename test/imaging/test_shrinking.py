"""Maps at a fraction of their size keep what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_seg_ros.imaging import shrink_map


@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 60),
    scale=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
)
def test_no_pixel_of_a_mask_gets_lost(rows: int, columns: int, scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros((rows, columns), np.uint8)
    row, column = rng.integers(rows), rng.integers(columns)
    mask[row, column] = 255
    small = shrink_map(mask, scale, any_of=True)
    assert small.shape == tuple(max(1, round(scale * side)) for side in mask.shape)
    assert small.dtype == np.uint8 and set(np.unique(small)) <= {0, 255}
    found = np.argwhere(small)
    assert len(found) >= 1
    cell = np.array(mask.shape) / small.shape
    assert np.all(np.abs((found + 0.5) * cell - (row + 0.5, column + 0.5)) <= cell + 1e-6)


def test_classes_stay_classes_and_scores_keep_their_nan() -> None:
    labels = np.repeat(np.repeat(np.array([[3, 250], [7, 255]], np.uint8), 4, 0), 4, 1)
    assert np.array_equal(shrink_map(labels, 0.25), [[3, 250], [7, 255]])
    score = np.full((8, 8), np.nan, np.float32)
    score[:4] = 0.5
    small = shrink_map(score, 0.5)
    assert small.dtype == np.float32
    assert np.isnan(small[2:]).all() and (small[:2] == 0.5).all()


@pytest.mark.parametrize("any_of", [True, False])
def test_at_full_size_nothing_is_copied(any_of: bool) -> None:
    mask = np.zeros((5, 7), np.uint8)
    assert shrink_map(mask, 1.0, any_of=any_of) is mask
