"""Hands frames from the subscriptions to the worker: the newest of each sender, or all in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Sender = TypeVar("Sender", bound=Hashable)
Item = TypeVar("Item")


class Mailbox(Generic[Sender, Item]):
    """For each sender a slot for one item, which a newer one replaces, or a queue for `depth`.

    Who was served longest ago comes first, so that a busy sender cannot starve the others. Any
    thread puts, one takes. `close` wakes all of them for good.
    """

    def __init__(self, senders: Iterable[Sender], depth: int = 1, keep_all: bool = False) -> None:
        # In the order of their turn: who is served goes to the end.
        self._items: dict[Sender, deque[Item]] = {sender: deque() for sender in senders}
        self._depth = depth if keep_all else 1
        self._keep_all = keep_all
        self._changed = threading.Condition()
        self._closed = False

    def put(self, sender: Sender, item: Item, patience: float = 0.0) -> int:
        """Leave an item; returns how many items were lost by that (0 or 1).

        The slot loses the item that nobody had taken yet. The queue waits up to `patience` seconds
        for room and then loses the new one. A closed mailbox loses everything.
        """
        with self._changed:
            if self._closed:
                return 1
            items, lost = self._items[sender], 0
            if len(items) >= self._depth:
                if self._keep_all:
                    self._changed.wait_for(
                        lambda: self._closed or len(items) < self._depth, patience
                    )
                    if self._closed or len(items) >= self._depth:
                        return 1
                else:
                    items.popleft()
                    lost = 1
            items.append(item)
            self._changed.notify_all()
            return lost

    def take(self, most: int = 1, gather: float = 0.0) -> dict[Sender, Item]:
        """The oldest item of each of up to `most` senders, waiting for the first one.

        gather: seconds to wait for other senders once there is one. Empty when the mailbox closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._waiting()))
            enough = min(most, len(self._items))
            if gather > 0:
                self._changed.wait_for(
                    lambda: self._closed or len(self._waiting()) >= enough, gather
                )
            taken = {}
            for sender in self._waiting()[:enough]:
                items = self._items.pop(sender)
                taken[sender] = items.popleft()
                self._items[sender] = items
            self._changed.notify_all()
            return taken

    def close(self) -> dict[Sender, int]:
        """Wake who waits and drop what is left; returns how many items of each sender that were."""
        with self._changed:
            self._closed = True
            left = {sender: len(items) for sender, items in self._items.items()}
            for items in self._items.values():
                items.clear()
            self._changed.notify_all()
            return left

    def _waiting(self) -> list[Sender]:
        return [sender for sender, items in self._items.items() if items]
