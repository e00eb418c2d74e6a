"""Work in several processes, also where this one has used OpenCV's threads."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.parallel import in_parallel


def blurred(value: int) -> float:
    return float(cv2.GaussianBlur(np.full((600, 600, 3), value, np.uint8), (31, 31), 5).mean())


def test_processes_work_after_this_one_used_opencvs_threads() -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        blurred(1)  # starts the pool
        assert in_parallel(blurred, [1, 2, 3, 4], 2, "blur") == [1, 2, 3, 4]
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(threads)
