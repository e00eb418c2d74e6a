"""Hands frames from the subscription to the worker: the newest one only, or all in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """A slot for one item (depth 1) that a newer item replaces, or a queue that holds `depth`.

    One thread puts, one takes. `close` wakes both for good.
    """

    def __init__(self, depth: int = 1, keep_all: bool = False) -> None:
        self._items: deque[Item] = deque()
        self._depth = depth if keep_all else 1
        self._keep_all = keep_all
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item, patience: float = 0.0) -> int:
        """Leave an item; returns how many items were lost by that (0 or 1).

        The slot loses the item that nobody had taken yet. The queue waits up to `patience` seconds
        for room and then loses the new one. A closed mailbox loses everything.
        """
        with self._changed:
            if self._closed:
                return 1
            lost = 0
            if len(self._items) >= self._depth:
                if self._keep_all:
                    self._changed.wait_for(
                        lambda: self._closed or len(self._items) < self._depth, patience
                    )
                    if self._closed or len(self._items) >= self._depth:
                        return 1
                else:
                    self._items.popleft()
                    lost = 1
            self._items.append(item)
            self._changed.notify_all()
            return lost

    def take(self, patience: float | None = None) -> Item | None:
        """The oldest item, waiting for one; None when the mailbox closed or patience ran out."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), patience)
            if self._closed or not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> int:
        """Wake who waits and drop what is left; returns how many items that were."""
        with self._changed:
            self._closed = True
            left = len(self._items)
            self._items.clear()
            self._changed.notify_all()
            return left
