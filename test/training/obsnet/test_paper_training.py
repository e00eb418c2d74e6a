"""Segmentation, then observer, as a user trains, resumes, opens and measures them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from camvid_tree import camvid_tree
from torch import Tensor

from training.__main__ import main
from training.benchmark.contenders import ContenderSpec, open_contender
from training.checkpoints import CheckpointError, open_segmenter, open_stages
from training.data.label_spaces import CAMVID, VOID
from training.methods.obsnet.attacks import ATTACKS
from training.methods.obsnet.paper_data import Views
from training.methods.obsnet.paper_training import (
    PaperObserver,
    PaperObserverSettings,
    attacked,
)
from training.networks.segnet import SegNet

VIEWS = "views: {size: [36, 48], batch: 2, workers: 0}\nwidth: 0.0625\nepochs: 2\n"
SEGMENTATION = f"model: paper_segmentation\n{VIEWS}"
OBSERVER = (
    f"model: paper_observer\n{VIEWS}optimisation: {{kind: sgd, learning_rate: 0.2}}\n"
    "attack_share: 0.5\n"
)


class Bench:
    """A folder with data, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, camvid_tree(folder / "data")

    def training(self, *words: str | Path) -> int:
        arguments, sys.argv = sys.argv, ["training", *map(str, words)]
        try:
            return main()
        finally:
            sys.argv = arguments

    def fit(self, name: str, config: str, *more: str | Path) -> Path:
        (self.folder / f"{name}.yaml").write_text(config)
        words = ("--data", self.data, "--out", self.folder / name, *more)
        assert self.training("fit", self.folder / f"{name}.yaml", *words) == 0
        return self.folder / name


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def segmentation(bench: Bench) -> Path:
    return bench.fit("segmentation", SEGMENTATION)


@pytest.fixture(scope="module")
def observer(bench: Bench, segmentation: Path) -> Path:
    return bench.fit("observer", OBSERVER, "--start-from", segmentation / "best.ckpt")


def weights(run: Path, file: str = "final.ckpt") -> dict[str, Tensor]:
    return torch.load(run / file, weights_only=True)["state_dict"]


def test_runs_keep_the_best_the_last_and_the_final_weights(
    segmentation: Path, observer: Path
) -> None:
    for run in (segmentation, observer):
        assert {path.name for path in run.glob("*.ckpt")} == {
            "best.ckpt",
            "last.ckpt",
            "final.ckpt",
        }


def test_the_observer_learns_and_the_segmentation_stays_as_it_was(
    segmentation: Path, observer: Path
) -> None:
    below, both = weights(segmentation, "best.ckpt"), weights(observer)
    kept = {key: value for key, value in both.items() if key.startswith("segmentation.")}
    assert kept.keys() == {key for key in below if key.startswith("segmentation.")}
    assert all(torch.equal(value, below[key]) for key, value in kept.items())
    key = "down2.conv1.cbr_unit.0.weight"
    assert not torch.equal(both[f"observer.{key}"], both[f"segmentation.{key}"])


@pytest.mark.parametrize("part", ["segmentation", "observer"])
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    part: str, bench: Bench, segmentation: Path, observer: Path
) -> None:
    config, more = SEGMENTATION, ()
    if part == "observer":
        config, more = OBSERVER, ("--start-from", segmentation / "best.ckpt")
    stopped = bench.fit(f"{part}_stopped", config, "--epochs", "1", *more)
    with_less = weights(stopped)
    bench.fit(f"{part}_stopped", config)
    whole, resumed = weights(bench.folder / part), weights(stopped)
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    assert any(not torch.equal(value, with_less[key]) for key, value in whole.items())


def test_checkpoints_open_as_segmenters_with_a_void_class(
    segmentation: Path, observer: Path
) -> None:
    image = torch.randint(0, 256, (1, 60, 80, 3), dtype=torch.uint8)
    for run in (segmentation, observer):
        segmenter = open_segmenter(run / "best.ckpt")
        assert isinstance(segmenter.network, SegNet) and not segmenter.network.training
        assert segmenter.space is CAMVID and segmenter.void_class == 11
        with torch.no_grad():
            prepared = segmenter.prepare(image)
            logits, features = segmenter.logits_and_features(prepared)
        assert prepared.shape == (1, 3, 36, 48) and logits.shape == (1, 12, 36, 48)
        assert features.shape == (1, 4, 18, 24)


def test_a_segmenter_normalises_as_training_did(observer: Path) -> None:
    segmenter, stages = (
        open_segmenter(observer / "final.ckpt"),
        open_stages(observer / "final.ckpt"),
    )
    image = torch.randint(0, 256, (1, 36, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        logits, *features = stages[0](image)
        torch.testing.assert_close(segmenter.logits(segmenter.prepare(image)), logits)
        score = stages[1](image, *features[1:])
    assert score.shape == (1, 36, 48) and score.min() >= 0 and score.max() <= 1


def test_a_segmentation_alone_has_no_score_of_its_own(segmentation: Path) -> None:
    with pytest.raises(CheckpointError, match="segmentation without an observer"):
        open_stages(segmentation / "best.ckpt")


def test_an_observer_without_a_segmentation_is_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.folder / "alone.yaml").write_text(OBSERVER)
    words = ("--data", bench.data, "--out", bench.folder / "alone")
    assert bench.training("fit", bench.folder / "alone.yaml", *words) == 2
    assert "give its checkpoint with --start-from" in capsys.readouterr().err


def test_the_benchmark_measures_own_score_and_baselines(bench: Bench, observer: Path) -> None:
    out = bench.folder / "benchmark"
    code = bench.training(
        *("benchmark", "--checkpoint", observer / "final.ckpt", "--method", "own,odin"),
        *("--dataset", "camvid/test", "--data", bench.data, "--out", out, "--limit", "2"),
        *("--protocol", "error_detection,segmentation", "--repeats", "0", "--pictures", "0"),
    )
    assert code == 0
    tables = json.loads((out / "results.json").read_text())["tables"]
    assert [table["protocol"] for table in tables] == ["error_detection", "segmentation"]
    for table in tables:
        assert set(table["rows"]) == {"observer/final.ckpt", "observer/final.ckpt, odin"}
        for figures in table["rows"].values():
            assert all(figure["value"] is not None for figure in figures.values())


@pytest.mark.parametrize("method", ["own", "max_softmax"])
def test_predicted_void_is_no_class_of_the_dataset(
    method: str, observer: Path, tmp_path: Path
) -> None:
    content = torch.load(observer / "final.ckpt", weights_only=True)
    content["state_dict"]["segmentation.up1.conv2.cbr_unit.1.bias"][11] = 1e6
    torch.save(content, tmp_path / "void.ckpt")
    contender = open_contender(ContenderSpec("checkpoint", str(tmp_path / "void.ckpt"), method))
    found = contender.predict(np.zeros((60, 80, 3), np.uint8), CAMVID)
    assert found.predicted is not None and (found.predicted == VOID).all()


@pytest.mark.parametrize(
    "switches",
    [
        {"attack": "none"},
        {"attack": "fractal", "all_classes": False},
        {"attack": "max_pixels_sparse", "gamma": 2.0},
        {"attack": "min_class", "attack_share": 0.5},
        {"observer_init": "random", "taps": False},
        {"image": False, "attack": "max_all_image"},
    ],
)
def test_every_switch_takes_a_step(switches: dict, bench: Bench) -> None:
    views = Views(size=(36, 48), batch=2, workers=0)
    settings = PaperObserverSettings(width=1 / 16, views=views, **switches)
    model = PaperObserver(settings, bench.data).train()
    assert model.observer.training and not model.segmentation.training
    trainer = type("Trainer", (), {"world_size": 1, "current_epoch": 0})
    model._trainer = trainer()
    [batch, _] = list(model.train_dataloader())
    loss, errors = model.loss(batch)
    loss.backward()
    assert torch.isfinite(loss) and 0 < errors <= 1
    assert any(p.grad is not None and p.grad.any() for p in model.observer.parameters())
    assert all(p.grad is None for p in model.segmentation.parameters())


def test_the_attack_steps_by_epsilon_up_the_loss_inside_the_region_and_clamps() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 5, 3, padding=1)
    image, label = torch.randn(2, 3, 16, 20) * 2, torch.randint(0, 5, (2, 16, 20))
    region = torch.zeros(2, 1, 16, 20)
    region[:, :, 4:12, 5:15] = 1
    goal = torch.tensor([1, 3])

    def cost(values: Tensor, target: Tensor) -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(network(values), target))

    inside = region.expand_as(image) > 0
    for name, target, rises in (
        ("min_random_patch", label, True),
        ("max_random_patch", goal[:, None, None].expand_as(label), False),
    ):
        moved = attacked(ATTACKS[name], network, image, label, region, goal, epsilon=0.2)
        assert moved.abs().max() == 3.0
        assert torch.equal(moved[~inside], image.clamp(-3, 3)[~inside])
        assert (cost(moved, target) > cost(image.clamp(-3, 3), target)) == rises
        free = inside & (image.abs() < 2.5)
        step = (moved - image)[free].abs()
        assert ((step - 0.2).abs() < 0.15).all() and np.isclose(step.mean(), 0.2, atol=0.01)


def test_unlabelled_pixels_neither_steer_the_attack_nor_count_as_spared() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 5, 1)
    image, label = torch.zeros(1, 3, 8, 8), torch.full((1, 8, 8), 255)
    label[:, :4] = 2
    ones = torch.ones(1, 1, 8, 8)
    moved = attacked(
        ATTACKS["min_class"], network, image, label, ones, torch.zeros(1).long(), epsilon=1.0
    )
    assert (moved[:, :, 4:].abs() < 0.5).all()  # noise alone
