"""Where the bins of a ScoreHistogram begin, as scores."""

from __future__ import annotations

import numpy as np

_FLOAT_BITS = 32


def lower_edges(bins: np.ndarray, bits: int) -> np.ndarray:
    """The lowest score of each bin: float32 [n] for int [n] out of 0 to 2**bits - 1.

    A score is in bin b or a higher one exactly where it is >= the edge of b. The edge is NaN
    for the bin of -infinity and for those that hold no score.
    """
    shift = _FLOAT_BITS - bits
    prefix = np.asarray(bins, np.int64) - (1 << (bits - 1))
    raw = prefix << shift
    negative = prefix < 0
    # Negative floats rise while their bits, sign apart, fall: the lowest of a bin has the highest.
    highest = (1 << (_FLOAT_BITS - 1)) - 1
    raw[negative] ^= highest
    return raw.astype(np.uint32).view(np.float32)
