"""A uniform sample of a stream of rows, the same however the stream is cut."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class Reservoir:
    """Keeps `capacity` rows: every row draws a key, the smallest keys stay.

    The keys follow the order of the rows alone, so one call with all rows keeps what many calls do.
    """

    def __init__(self, capacity: int, seed: int) -> None:
        self.capacity = capacity
        self._generator = np.random.default_rng(seed)
        self._keys = np.empty(0)
        self._rows: Tensor | None = None

    def add(self, rows: Tensor) -> None:
        """Offer rows [n, D]."""
        keys = self._generator.random(len(rows))
        if len(self._keys) == self.capacity:
            better = np.flatnonzero(keys < self._keys[-1])  # most rows fall out here, unmoved
            rows, keys = rows[torch.from_numpy(better).to(rows.device)], keys[better]
        kept = rows if self._rows is None else torch.cat([self._rows, rows])
        keys = np.concatenate([self._keys, keys])
        order = np.argsort(keys, kind="stable")[: self.capacity]
        self._keys, self._rows = keys[order], kept[torch.from_numpy(order).to(kept.device)]

    def rows(self) -> Tensor:
        """The sample [at most capacity, D], in the order of its keys; [0, 0] before any row."""
        return torch.empty(0, 0) if self._rows is None else self._rows
