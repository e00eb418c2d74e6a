"""Geometry of the fits: what lies where, there and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.imaging.fitting import FITS, LETTERBOX_ALIGN, LETTERBOX_GRAY, Fitting

quick = settings(max_examples=60, deadline=None)
cameras = st.tuples(st.integers(24, 150), st.integers(24, 150))
networks = st.tuples(st.integers(3, 12), st.integers(3, 12)).map(lambda n: (8 * n[0], 8 * n[1]))
strides = st.sampled_from([1, 2, 4, 8])
fits = st.sampled_from(FITS)


def camera_positions(fitting: Fitting, grid: tuple[int, int], axis: int) -> np.ndarray:
    """Where, in camera pixels, the middle of each grid cell looks along one axis: float64 [n]."""
    cells = (np.arange(grid[axis]) + 0.5) * fitting.network[axis] / grid[axis]
    scale = fitting.source[axis + 2] / fitting.target[axis + 2]
    return (cells - fitting.target[axis]) * scale + fitting.source[axis]


def ramp(length: int) -> np.ndarray:
    return np.arange(length) + 0.5


@quick
@given(camera=cameras, network=networks, stride=strides, fit=fits)
def test_a_cell_comes_back_to_the_camera_pixels_it_looked_at(
    camera: tuple[int, int], network: tuple[int, int], stride: int, fit: str
) -> None:
    fitting = Fitting(camera, network, fit)
    grid = (network[0] // stride, network[1] // stride)
    for axis in (0, 1):
        positions = camera_positions(fitting, grid, axis)
        values = np.moveaxis(np.tile(positions, (grid[1 - axis], 1)), 1, axis)
        restored = fitting.restore(values.astype(np.float32), nearest=False, fill=np.nan)
        seen = restored[fitting.source.slices]
        assert restored.shape == camera
        assert np.isnan(restored).sum() == restored.size - seen.size
        expected = np.moveaxis(np.tile(ramp(camera[axis]), (camera[1 - axis], 1)), 1, axis)
        # Outside the outermost middles the value is held, two cells when an edge cuts one.
        cell = abs(positions[1] - positions[0]) if grid[axis] > 1 else camera[axis]
        error = np.abs(seen - expected[fitting.source.slices])
        assert error.max() <= 1.5 * cell + 0.01
        inner = [slice(None), slice(None)]
        margin = int(np.ceil(1.5 * cell)) + 1
        inner[axis] = slice(margin, -margin)
        # cv2.remap places its samples to 1/32 cell
        assert error[tuple(inner)].max(initial=0) <= cell / 32 + 0.01


@quick
@given(camera=cameras, network=networks, stride=strides, fit=fits, seed=st.integers(0, 99))
def test_each_pixel_gets_the_label_of_the_cell_it_lies_in(
    camera: tuple[int, int], network: tuple[int, int], stride: int, fit: str, seed: int
) -> None:
    fitting = Fitting(camera, network, fit)
    grid = (network[0] // stride, network[1] // stride)
    labels = np.random.default_rng(seed).integers(0, 19, grid, np.uint8)
    restored = fitting.restore(labels, nearest=True, fill=255)
    edges = []  # per axis: camera position of the left edge of each cell
    for axis in (0, 1):
        middles = camera_positions(fitting, grid, axis)
        half = fitting.source[axis + 2] / fitting.target[axis + 2] * stride / 2
        edges.append(middles - half)
    checks = np.random.default_rng(seed).random((40, 2)) * camera
    for y, x in checks.astype(int).tolist():
        where = []
        for axis, position in ((0, y), (1, x)):
            start, length = fitting.source[axis], fitting.source[axis + 2]
            if not start <= position < start + length:
                break
            cell = int(np.searchsorted(edges[axis], position + 0.5 + 1e-9)) - 1
            if np.abs(edges[axis] - (position + 0.5)).min() < 1e-6:
                break  # exactly between two cells: both are right
            where.append(cell)
        if len(where) == 2 and np.array(where).min() >= 0:
            if fit == "letterbox" and stride == 8:
                continue  # a cell that is part padding gives way to its neighbour
            assert restored[y, x] == labels[tuple(where)]
    outside = np.ones(camera, bool)
    outside[fitting.source.slices] = False
    assert (restored[outside] == 255).all()
    assert restored.dtype == np.uint8


@quick
@given(
    camera=st.tuples(st.integers(40, 150), st.integers(40, 150)),
    network=st.tuples(st.integers(40, 120), st.integers(40, 120)),
    fit=fits,
)
def test_a_smooth_image_survives_the_way_there_and_back(
    camera: tuple[int, int], network: tuple[int, int], fit: str
) -> None:
    y, x = np.meshgrid(ramp(camera[0]) / camera[0], ramp(camera[1]) / camera[1], indexing="ij")
    smooth = 120 + 60 * np.sin(3 * y + 1) + 50 * np.cos(3 * x)
    image = np.repeat(np.rint(smooth).astype(np.uint8)[..., None], 3, axis=2)
    fitting = Fitting(camera, network, fit)
    small = fitting.fit(image)
    assert small.shape == (*network, 3)
    assert small.flags.c_contiguous
    restored = fitting.restore(small[..., 1].astype(np.float32), nearest=False, fill=0)
    difference = np.abs(restored - smooth)[fitting.source.slices]
    assert np.quantile(difference, 0.9) < 4
    assert difference.max() < 16


@pytest.mark.parametrize("network", [(384, 768), (256, 512), (97, 203)])
@pytest.mark.parametrize("camera", [(480, 640), (1080, 1920), (721, 1281), (333, 200)])
@pytest.mark.parametrize("fit", FITS)
def test_a_marked_spot_comes_back_to_its_place(
    fit: str, camera: tuple[int, int], network: tuple[int, int]
) -> None:
    fitting = Fitting(camera, network, fit)
    source = fitting.source
    for fraction_y, fraction_x in ((0.31, 0.22), (0.5, 0.5), (0.77, 0.83)):
        row = source.top + int(fraction_y * source.height)
        column = source.left + int(fraction_x * source.width)
        image = np.zeros((*camera, 3), np.uint8)
        image[row - 10 : row + 11, column - 10 : column + 11] = 255
        small = fitting.fit(image)[..., 0].astype(np.float32)
        small[: fitting.target.top] = 0  # the gray of the padding
        small[fitting.target.top + fitting.target.height :] = 0
        small[:, : fitting.target.left] = 0
        small[:, fitting.target.left + fitting.target.width :] = 0
        restored = fitting.restore(small, nearest=False, fill=0)
        rows, columns = np.mgrid[: camera[0], : camera[1]]
        assert abs(np.average(rows, weights=restored) - row) < 1
        assert abs(np.average(columns, weights=restored) - column) < 1


@quick
@given(camera=cameras, network=networks)
def test_a_letterbox_is_centred_gray_and_keeps_the_aspect_ratio(
    camera: tuple[int, int], network: tuple[int, int]
) -> None:
    fitting = Fitting(camera, network, "letterbox")
    target = fitting.target
    assert fitting.source == (0, 0, *camera)
    assert target.height == network[0] or target.width == network[1]
    assert target.top * 2 + target.height == network[0]
    assert target.left * 2 + target.width == network[1]
    scale = min(network[0] / camera[0], network[1] / camera[1])
    for axis in (0, 1):
        wanted = max(LETTERBOX_ALIGN, camera[axis] * scale)
        assert abs(target[axis + 2] - wanted) <= LETTERBOX_ALIGN / 2
    canvas = fitting.fit(np.full((*camera, 3), 7, np.uint8))
    picture = np.zeros(network, bool)
    picture[target.slices] = True
    assert (canvas[picture] == 7).all()
    assert (canvas[~picture] == LETTERBOX_GRAY).all()


def test_padding_never_leaks_into_the_camera_image() -> None:
    for camera, network, grid in (
        ((1080, 1920), (384, 768), (48, 96)),  # stride 8: edges cut cells
        ((1080, 1920), (384, 768), (96, 192)),
        ((333, 200), (97, 203), (97, 203)),
        ((10, 900), (64, 64), (4, 4)),  # a picture thinner than a cell
    ):
        fitting = Fitting(camera, network, "letterbox")
        rows = (np.arange(grid[0]) + 0.5) * network[0] / grid[0] - fitting.target.top
        columns = (np.arange(grid[1]) + 0.5) * network[1] / grid[1] - fitting.target.left
        half_y, half_x = network[0] / grid[0] / 2, network[1] / grid[1] / 2
        inside_y = (rows - half_y >= 0) & (rows + half_y <= fitting.target.height)
        inside_x = (columns - half_x >= 0) & (columns + half_x <= fitting.target.width)
        if not inside_y.any():
            inside_y = (rows + half_y > 0) & (rows - half_y < fitting.target.height)
        values = np.where(inside_y[:, None] & inside_x, 1.0, 1000.0).astype(np.float32)
        for nearest in (True, False):
            restored = fitting.restore(values, nearest=nearest, fill=0)
            np.testing.assert_array_equal(restored, np.ones(camera, np.float32))


@quick
@given(camera=cameras, network=networks)
def test_a_crop_is_the_largest_centred_part_of_the_right_shape(
    camera: tuple[int, int], network: tuple[int, int]
) -> None:
    fitting = Fitting(camera, network, "crop")
    source = fitting.source
    assert fitting.target == (0, 0, *network)
    assert source.height == camera[0] or source.width == camera[1]
    assert abs(2 * source.top + source.height - camera[0]) <= 1
    assert abs(2 * source.left + source.width - camera[1]) <= 1
    scale = max(network[0] / camera[0], network[1] / camera[1])
    assert abs(source.height - network[0] / scale) <= 0.5
    assert abs(source.width - network[1] / scale) <= 0.5


@pytest.mark.parametrize("camera", [(480, 640), (481, 641), (1081, 1921)])
def test_shrinking_averages_fine_texture_unless_told_otherwise(camera: tuple[int, int]) -> None:
    checkers = np.indices(camera).sum(axis=0) % 2 * 255
    image = np.repeat(checkers.astype(np.uint8)[..., None], 3, axis=2)
    averaged = Fitting(camera, (96, 192), "squash").fit(image)
    aliased = Fitting(camera, (96, 192), "squash", antialias=False).fit(image)
    assert averaged.std() < 12
    assert aliased.std() > 3 * averaged.std()


def test_growing_interpolates_smoothly_also_when_the_other_axis_shrinks() -> None:
    image = np.zeros((400, 10, 3), np.uint8)
    image[:, 5:] = 200
    row = Fitting((400, 10), (40, 100), "squash").fit(image)[20, :, 0].astype(int)
    assert np.diff(row).max() <= 25  # an edge of 200 spreads over one source pixel, ten here


def test_equal_sizes_pass_the_image_through() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    for fit in FITS:
        assert np.shares_memory(Fitting((40, 60), (40, 60), fit).fit(image), image)


def test_wrong_calls_are_told_apart() -> None:
    with pytest.raises(DetectorError, match="unknown fit 'stretch'; expected one of squash"):
        Fitting((4, 4), (8, 8), "stretch")
    with pytest.raises(DetectorError, match="expected 1 pixel or more"):
        Fitting((0, 4), (8, 8))
    fitting = Fitting((4, 6), (8, 8))
    with pytest.raises(DetectorError, match=r"uint8 \[4, 7, 3\]; expected uint8 \[4, 6, 3\]"):
        fitting.fit(np.zeros((4, 7, 3), np.uint8))
    with pytest.raises(DetectorError, match="float32"):
        fitting.fit(np.zeros((4, 6, 3), np.float32))
    for shape in ((1, 8, 8), (8,), (0, 8), (8, 8, 4), (8, 8, 3, 1)):
        with pytest.raises(DetectorError, match=r"map of shape \[.*\]; expected \[h, w\] or"):
            fitting.restore(np.zeros(shape, np.float32), nearest=False, fill=0)


@quick
@given(camera=cameras, network=networks, stride=strides, fit=fits, seed=st.integers(0, 99))
def test_a_picture_comes_back_channel_by_channel(
    camera: tuple[int, int], network: tuple[int, int], stride: int, fit: str, seed: int
) -> None:
    fitting = Fitting(camera, network, fit)
    grid = (network[0] // stride, network[1] // stride)
    picture = np.random.default_rng(seed).integers(0, 256, (*grid, 3), dtype=np.uint8)
    for nearest in (False, True):
        restored = fitting.restore(picture, nearest=nearest, fill=7)
        for channel in range(3):
            plane = np.ascontiguousarray(picture[..., channel])
            alone = fitting.restore(plane, nearest=nearest, fill=7)
            np.testing.assert_allclose(restored[..., channel], alone, atol=0 if nearest else 1)
