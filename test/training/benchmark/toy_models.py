"""Models for the benchmark's own tests: `toy_models:green` and others, called without arguments."""

from __future__ import annotations

import numpy as np

CALLS: list[tuple[int, ...]] = []  # shape of each image that was scored in this process


class Green:
    """Score = share of green; class 0 everywhere."""

    def predict(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        CALLS.append(image.shape)
        return image[..., 1].astype(np.float32) / 255, np.zeros(image.shape[:2], np.uint8)


class Dubious:
    """Answers that no benchmark may take."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def predict(self, image: np.ndarray) -> np.ndarray:
        score = np.zeros(image.shape[:2], np.float32)
        if self.kind == "nan":
            score[0, 0] = np.nan
        return score[1:] if self.kind == "small" else score


def green() -> Green:
    return Green()


def nan() -> Dubious:
    return Dubious("nan")


def small() -> Dubious:
    return Dubious("small")
