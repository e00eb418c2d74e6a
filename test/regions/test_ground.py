"""Where pixels meet the road, against the cameras of the drawn roads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.ground import NOWHERE, Mount, Pinhole, ground_point
from anomaly_seg_ros.scenes.camera import Camera, Lens

LENS = Pinhole(fx=400.0, fy=400.0, cx=319.5, cy=239.5)


@settings(deadline=None, max_examples=100)
@given(
    height=st.floats(0.3, 4),
    pitch=st.floats(-0.3, 0.6),
    forward=st.floats(3, 80),
    right=st.floats(-15, 15),
)
def test_a_point_of_the_road_is_found_again_from_its_pixel(
    height: float, pitch: float, forward: float, right: float
) -> None:
    camera = Camera(Lens(480, 640, 400.0), x=0, y=height, z=0, yaw=0, pitch=pitch, roll=0)
    seen = camera.seen(np.array([[right, 0.0, forward]]))
    column, row = camera.project(seen)[0]
    found = ground_point(column, row, LENS, Mount(height, pitch))
    assert (found.forward, found.right) == pytest.approx((forward, right), rel=1e-6, abs=1e-6)
    assert found.optical == pytest.approx(seen[0], rel=1e-6, abs=1e-6)
    assert found.distance == pytest.approx(math.hypot(forward, right), rel=1e-6)


def test_a_level_camera_sees_the_road_at_height_times_focal_over_rows_below_the_horizon() -> None:
    found = ground_point(319.5, 239.5 + 40, LENS, Mount(1.5, 0.0))
    assert (found.forward, found.right) == (15.0, 0.0)


def test_lenses_may_differ_across_and_down() -> None:
    lens = Pinhole(fx=800.0, fy=400.0, cx=0.0, cy=0.0)
    found = ground_point(80.0, 40.0, lens, Mount(1.0, 0.0))
    assert (found.forward, found.right) == pytest.approx((10.0, 1.0))


@pytest.mark.parametrize("pitch", [-0.2, 0.0, 0.1])
def test_the_horizon_and_the_sky_are_nowhere(pitch: float) -> None:
    horizon = LENS.cy - LENS.fy * math.tan(pitch)
    for row in (horizon - 1e-6, horizon - 100):
        found = ground_point(100.0, row, LENS, Mount(1.5, pitch))
        assert found is NOWHERE and not found.known and math.isnan(found.distance)
    assert ground_point(100.0, horizon + 1, LENS, Mount(1.5, pitch)).distance > 0


def test_without_a_height_nothing_has_a_distance() -> None:
    assert ground_point(300.0, 400.0, LENS, Mount(0.0, 0.0)) is NOWHERE
