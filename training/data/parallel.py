"""The same work for many items in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2
from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """Results in the order of `items`, with a progress bar; one worker means this process.

    `work` and items must pickle. The first error of the work is raised here.
    """
    if workers <= 1 or len(items) <= 1:
        return _all(map(work, items), len(items), title)
    with (
        one_opencv_thread(),
        ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool,
    ):
        chunk = max(1, min(16, len(items) // (4 * workers)))
        return _all(pool.map(work, items, chunksize=chunk), len(items), title)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV's threads do not survive a fork: a child that touches their pool waits for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _all(results: Iterable[Result], count: int, title: str) -> list[Result]:
    return list(tqdm(results, total=count, desc=title))
