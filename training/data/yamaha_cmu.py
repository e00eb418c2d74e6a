"""Yamaha-CMU Off-Road (Maturana et al., FSR 2017): gravel, earth, grass and forest, 1024x544."""

from __future__ import annotations

from pathlib import Path

from training.data.frame_files import labelled_frames, missing_files, refuse, same_stem
from training.data.label_meaning import LabelMeaning
from training.data.label_spaces import VOID, YAMAHA_CMU
from training.data.labelled_frames import LabelledFrames

# Stored: 0 unlabelled and the own vehicle, 1 smooth trail, 2 grass, 3 rough trail, 4 puddle,
# 5 obstacle (anything solid), 6 low and 7 high vegetation, 8 sky. A puddle is part of its trail.
MEANING = LabelMeaning({1: 0, 2: 1, 3: 0, 4: 0, 5: 3, 6: 1, 7: 1, 8: 2}, void=(0, VOID))
HOW_TO_GET = (
    "Get yamaha_v0 from https://theairlab.org/yamaha-offroad-dataset and put each frame's rgb.jpg"
    " as ROOT/yamaha_cmu/train/NAME.jpg and its labels.png, whose palette indices are the ids, as"
    " 8-bit gray ROOT/yamaha_cmu/trainannot/NAME.png."
)


def yamaha_cmu(root: Path, split: str) -> LabelledFrames:
    """Frames of ROOT/yamaha_cmu/{split}. Raises DatasetError."""
    folder = root / "yamaha_cmu"
    pairs = same_stem(folder / split, folder / f"{split}annot")
    if problems := missing_files(pairs, folder / split):
        refuse(f"yamaha_cmu/{split}", problems, HOW_TO_GET)
    return labelled_frames("yamaha_cmu", YAMAHA_CMU, pairs, MEANING)
