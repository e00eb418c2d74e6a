"""Progress bars that a library call may have or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

Progress: TypeAlias = "Callable[[str, int, int], AbstractContextManager[Callable[[], object]]]"
"""(what, total, done already) -> a context that gives a function to call after each step."""


@contextmanager
def no_progress(what: str, total: int, done: int) -> Iterator[Callable[[], object]]:
    """Say nothing."""
    yield lambda: None


@contextmanager
def progress_bar(what: str, total: int, done: int) -> Iterator[Callable[[], object]]:
    """A bar with rate and time left on stderr; total 0 = unknown."""
    from tqdm import tqdm

    with tqdm(total=total or None, initial=done, desc=what, unit="frame", smoothing=0.1) as bar:
        yield lambda: bar.update(1)
