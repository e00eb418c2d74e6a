"""Distance to the k-th nearest training feature."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.baselines.base import Baseline, BaselineError, Frames, Scored, features_of, labels_of
from training.baselines.labelled import labelled_features, rows, score_at
from training.baselines.reservoir import Reservoir
from training.data.label_spaces import VOID
from training.segmenter import Segmenter

NEIGHBOURS = 10
BANK = 10_000  # features kept
CHUNK = 1024  # cells compared with the bank at a time: 80 MB of similarities


class KNearest(Baseline):
    """Score = distance to the k-th nearest feature of the bank (Sun et al., ICML 2022).

    Features have unit length; the bank is a uniform sample of the labelled cells of training
    frames. Score float32 in 0..2, from the features' grid to the logits' one.
    """

    name = "knn"
    needs_fit = True
    state_names = ("bank",)  # double [at most BANK, D]

    def __init__(self, neighbours: int = NEIGHBOURS, bank: int = BANK, *, seed: int = 0) -> None:
        super().__init__()
        self.neighbours, self.bank, self.seed = neighbours, bank, seed

    def _fit(self, segmenter: Segmenter, frames: Frames) -> dict[str, Tensor]:
        sample = Reservoir(self.bank, self.seed)
        for _, features, labels in labelled_features(segmenter, frames):
            sample.add(unit_rows(features)[labels.flatten() != VOID])
        bank = sample.rows()
        if len(bank) < self.neighbours:
            raise BaselineError(
                f"{self.name}: the frames hold {len(bank)} labelled cells, "
                f"at least {self.neighbours} are needed: fit on more frames"
            )
        return {"bank": bank}

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        logits, features = features_of(segmenter, image)
        distances = [
            kth_distance(chunk, self.fitted["bank"], self.neighbours)
            for chunk in unit_rows(features).split(CHUNK)
        ]
        score = torch.cat(distances).reshape(features[:, 0].shape)
        return Scored(labels_of(logits), score_at(score, logits))


def unit_rows(features: Tensor) -> Tensor:
    """Features [N, D, h, w] as rows of unit length, double [N * h * w, D]; zero stays zero."""
    return functional.normalize(rows(features).double())


def kth_distance(cells: Tensor, bank: Tensor, k: int) -> Tensor:
    """Distance of unit rows [n, D] to their k-th nearest unit row of bank [B, D]: double [n].

    Double, since 2 - 2 cos of near neighbours has no digits left in single precision.
    """
    cosine = (cells @ bank.T).topk(k, dim=1).values[:, -1]
    return (2 - 2 * cosine).clamp(min=0).sqrt()
