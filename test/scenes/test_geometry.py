"""Pictures, labels and camera agree on one world."""

import numpy as np
import pytest

from anomaly_seg_ros.scenes.camera import NEAR, Camera, Lens, clipped


def camera_at(**changes: float) -> Camera:
    pose = {"x": 1.0, "y": 1.5, "z": 10.0, "yaw": 0.1, "pitch": 0.05, "roll": 0.01} | changes
    return Camera(Lens(120, 160, 140.0), **pose)


def test_what_a_pixel_sees_of_the_ground_projects_back_to_the_pixel():
    camera = camera_at()
    top = camera.horizon()[1] + 5
    x, z = camera.ground(top)
    cells = np.arange(x.shape[1])
    points = np.stack([x[20] + camera.x, np.zeros(len(cells)), z[20] + camera.z], axis=1)
    pixels = camera.project(camera.seen(points))
    np.testing.assert_allclose(pixels[:, 0], 8 * (cells - 0.5) - 0.5, atol=1e-6)
    np.testing.assert_allclose(pixels[:, 1], top + 20, atol=1e-6)


def test_yaw_turns_right_and_pitch_turns_down():
    ahead = np.array([[1.0, 1.5, 30.0]])
    straight = camera_at(yaw=0.0, pitch=0.0, roll=0.0)
    centre = straight.project(straight.seen(ahead))[0]
    np.testing.assert_allclose(centre, (79.5, 59.5))
    right, down = camera_at(yaw=0.1, pitch=0.0, roll=0.0), camera_at(yaw=0.0, pitch=0.1, roll=0.0)
    assert right.project(right.seen(ahead))[0, 0] < centre[0]
    assert down.project(down.seen(ahead))[0, 1] < centre[1]


def test_a_polygon_is_cut_at_the_near_plane():
    seen = np.array([[-1.0, 0, 5], [1, 0, 5], [1, 0, -5], [-1, 0, -5]])
    cut = clipped(seen)
    assert cut is not None and cut[:, 2].min() == pytest.approx(NEAR)
    assert clipped(seen - (0, 0, 10)) is None


def test_a_marker_on_the_road_comes_nearer(sequence_of):
    sequence = sequence_of(5)
    start = sequence.camera(0).z
    marker = np.array([[float(sequence.style.bends.x(start + 25.0)), 0.0, start + 25.0]])
    rows = []
    for index in range(0, 15, 2):
        camera = sequence.camera(index)
        rows.append(camera.project(camera.seen(marker))[0, 1])
    assert (np.diff(rows) > 0).all()


@pytest.mark.parametrize("seed", [1, 2, 5, 8])
def test_labels_lie_where_the_camera_sees_the_road_and_its_edge(sequence_of, seed):
    sequence = sequence_of(seed)
    style, hits, misses = sequence.style, [], []
    for index in range(0, 100, 20):
        camera = sequence.camera(index)
        labels = sequence.frame(index).labels
        for side in style.sides:
            for z in camera.z + np.arange(7.0, 16.0, 1.5):
                for beyond, found in ((-0.6, hits), (0.6, misses)):
                    x = float(style.bends.x(z)) + side.sign * (side.edge + beyond)
                    column, row = np.round(
                        camera.project(camera.seen(np.array([[x, 0.0, z]])))[0]
                    ).astype(int)
                    if 0 <= column < 160 and 0 <= row < 120:
                        found.append(int(labels[row, column]))
    open_road = [label for label in hits if label in (0, 1, 9)]
    open_side = [label for label in misses if label in (0, 1, 9)]
    assert np.mean([label == 0 for label in open_road]) > 0.9
    assert np.mean([label != 0 for label in open_side]) > 0.6  # side streets are road, too
