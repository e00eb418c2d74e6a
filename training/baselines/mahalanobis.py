"""Mahalanobis distance to the nearest class."""

from __future__ import annotations

import torch
from torch import Tensor

from training.baselines.base import Baseline, BaselineError, Frames, Scored, features_of, labels_of
from training.baselines.labelled import labelled_features, rows, score_at
from training.baselines.moments import ClassMoments
from training.data.label_spaces import VOID
from training.segmenter import Segmenter

RIDGE = 1e-6  # times the mean variance, added to each: features may depend on each other
CHUNK = 16384  # cells measured at a time


class Mahalanobis(Baseline):
    """Score = min_k sqrt((f - mean_k)^T S^-1 (f - mean_k)) (Lee et al., NeurIPS 2018).

    One Gaussian per labelled class k, S their shared covariance, both from labelled training
    frames. Score float32, at least 0, from the features' grid to the logits' one.
    """

    name = "mahalanobis"
    needs_fit = True
    state_names = ("whitening", "centres")  # [D, D] and [classes seen, D], double

    def _fit(self, segmenter: Segmenter, frames: Frames) -> dict[str, Tensor]:
        moments = None
        for logits, features, labels in labelled_features(segmenter, frames):
            if moments is None:
                sizes = (logits.shape[1], features.shape[1])
                moments = ClassMoments.empty(*sizes, features.device)
            known = labels.flatten() != VOID
            moments.update(rows(features)[known], labels.flatten()[known])
        assert moments is not None  # no frames is an error of its own
        return gaussians(moments)

    def _score(self, segmenter: Segmenter, image: Tensor) -> Scored:
        logits, features = features_of(segmenter, image)
        distances = [
            nearest(cells, self.fitted["whitening"], self.fitted["centres"])
            for cells in rows(features).split(CHUNK)
        ]
        score = torch.cat(distances).reshape(features[:, 0].shape)
        return Scored(labels_of(logits), score_at(score, logits))


def gaussians(moments: ClassMoments) -> dict[str, Tensor]:
    """Whitening W with W^T W = S^-1, and the whitened means of the classes that were seen.

    Raises BaselineError where nothing was labelled or the features are constant.
    """
    total = moments.counts.sum()
    covariance = moments.products / total.clamp(min=1)
    spread = covariance.diagonal().mean()
    if not spread > 0:
        raise BaselineError(
            f"mahalanobis: {int(total)} labelled cells whose features do not vary within a class: "
            "fit on more frames, with labels that are not void"
        )
    ridge = RIDGE * spread * torch.eye(len(covariance), dtype=torch.double, device=spread.device)
    whitening = torch.linalg.inv(torch.linalg.cholesky(covariance + ridge))
    return {"whitening": whitening, "centres": moments.means[moments.counts > 0] @ whitening.T}


def nearest(cells: Tensor, whitening: Tensor, centres: Tensor) -> Tensor:
    """Distance of features [n, D] to the nearest whitened centre [K, D]: double [n]."""
    exact = "donot_use_mm_for_euclid_dist"
    return torch.cdist(cells.double() @ whitening.T, centres, compute_mode=exact).amin(dim=1)
