"""Colour jitter against its formulas, and the score over jittered images."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from tiny_segmenters import entropy, images, softmax, tiny_segmenter

from training.baselines.mcda import MCDA, Jitter, jittered

GREY = np.array([0.2989, 0.587, 0.114])


def plainly_jittered(image: np.ndarray, j: dict[str, float]) -> np.ndarray:
    """image [H, W, 3] in 0..255, double."""
    values = (image / 255) ** j["gamma"]
    grey = (values @ GREY)[..., None]
    values = np.clip(j["saturation"] * values + (1 - j["saturation"]) * grey, 0, 1)
    for place in np.ndindex(values.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*values[place])
        values[place] = colorsys.hsv_to_rgb((hue + j["hue"]) % 1, saturation, value)
    values = np.clip(values * j["brightness"], 0, 1)
    mean = (values @ GREY).mean()
    return 255 * np.clip(j["contrast"] * values + (1 - j["contrast"]) * mean, 0, 1)


def test_jitter_follows_its_formulas() -> None:
    image = images(1)
    draw = {"gamma": 1.2, "saturation": 1.1, "hue": -0.03, "brightness": 0.85, "contrast": 1.15}
    found = jittered(image, Jitter(**{name: (value, value) for name, value in draw.items()}))
    expected = plainly_jittered(image[0].numpy().astype(np.float64), draw)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=0.02)


def test_draws_stay_in_their_ranges_and_fill_them() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = [Jitter().draw(generator) for _ in range(200)]
    for name, (low, high) in vars(Jitter()).items():
        values = np.array([getattr(draw, name)[0] for draw in draws])
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high >= values.max() > high - 0.1 * (high - low)


def test_the_score_is_the_entropy_of_the_mean_over_jittered_images() -> None:
    segmenter, generator = tiny_segmenter(), torch.Generator().manual_seed(7)
    answers = []
    for _ in range(4):
        draw = {name: low for name, (low, _) in vars(Jitter().draw(generator)).items()}
        moved = plainly_jittered(images(1)[0].numpy().astype(np.float64), draw)
        with torch.no_grad():
            prepared = segmenter.prepare(torch.from_numpy(moved)[None])
            answers.append(segmenter.logits(prepared).numpy())
    mean = softmax(np.stack(answers), axis=2).mean(axis=0)
    scored = MCDA(4, seed=7).score(segmenter, images(1))
    np.testing.assert_allclose(scored.score.numpy(), entropy(mean), atol=2e-4)
    plain = segmenter.logits(segmenter.prepare(images(1)))
    assert torch.equal(scored.labels.long(), plain.argmax(dim=1))


def test_without_jitter_the_image_stays() -> None:
    still = Jitter((1.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1.0, 1.0), (1.0, 1.0))
    torch.testing.assert_close(jittered(images(), still), images().float(), atol=1e-3, rtol=0)


def test_scores_depend_on_the_seed_alone() -> None:
    segmenter = tiny_segmenter()
    first, again, other = (MCDA(3, seed=s).score(segmenter, images()).score for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
