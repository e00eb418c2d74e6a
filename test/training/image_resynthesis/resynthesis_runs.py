"""Runs of `python -m training` on the small street, as a user starts, stops and continues them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from street_tree import street_tree
from torch import Tensor

from training.__main__ import main


class Runs:
    """A folder with data, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, street_tree(folder / "data")

    def training(self, *words: str | Path) -> int:
        arguments, sys.argv = sys.argv, ["training", *map(str, words)]
        try:
            return main()
        finally:
            sys.argv = arguments

    def attempt(self, name: str, config: str, *more: str | Path) -> int:
        """The exit status of a fit."""
        (self.folder / f"{name}.yaml").write_text(config)
        words = ("--data", self.data, "--out", self.folder / name, *more)
        return self.training("fit", self.folder / f"{name}.yaml", *words)

    def fit(self, name: str, config: str, *more: str | Path) -> Path:
        """The folder of a run that went well."""
        assert self.attempt(name, config, *more) == 0
        return self.folder / name

    def stopped_and_continued(self, name: str, config: str, *more: str | Path) -> Path:
        """The same run, stopped after one epoch."""
        self.fit(name, config, "--epochs", "1", *more)
        return self.fit(name, config)


def content(run: Path, file: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(run / file, weights_only=True)


def weights(run: Path, file: str = "last.ckpt") -> dict[str, Tensor]:
    return content(run, file)["state_dict"]


def same_state(one: Path, other: Path) -> None:
    """Weights, optimiser and plateau of two runs are equal."""
    first, second = content(one), content(other)
    assert first["state_dict"].keys() == second["state_dict"].keys()
    for key, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][key]), key
    assert first["lr_schedulers"] == second["lr_schedulers"]
    [mine], [theirs] = (found["optimizer_states"] for found in (first, second))
    assert mine["param_groups"] == theirs["param_groups"]
    assert best_of(first) == best_of(second)


def best_of(found: dict[str, Any]) -> float:
    """The least validation loss that a checkpoint knows of."""
    [state] = [s for name, s in found["callbacks"].items() if name.startswith("ModelCheckpoint")]
    return float(state["best_model_score"])
