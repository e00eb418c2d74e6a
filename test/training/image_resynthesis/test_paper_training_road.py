"""The road autoencoder learns what road looks like, and competes in the benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from resynthesis_runs import Runs, best_of, content, same_state
from street_tree import ROAD

from training.benchmark.contenders import ContenderSpec, open_contender
from training.checkpoints import CheckpointError, open_chain, open_segmenter
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import DatasetError
from training.fit import read_model
from training.methods.image_resynthesis.label_views import whole_frame
from training.methods.image_resynthesis.road_patches import RoadViews, road_loader, road_patches
from training.methods.image_resynthesis.road_training import (
    RoadAutoencoderSettings,
    RoadAutoencoderTraining,
    as_map,
)
from training.networks.road_autoencoder import RoadAutoencoder

SIZE = (64, 128)
VIEWS = RoadViews(data="cityscapes256", size=SIZE, frames=3, workers=0)
CONFIG = (
    "model: road_autoencoder\nepochs: 40\n"
    "views: {data: cityscapes256, size: [64, 128], frames: 3, workers: 0}\n"
    "plateau: {learning_rate: 2.0e-2}\n"
)
# So small a rate that no epoch is better than the one before, and the rate falls.
FLAT = CONFIG.replace("epochs: 40", "epochs: 4").replace("2.0e-2", "1.0e-7, patience: 0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(runs: Runs) -> Path:
    return runs.fit("trained", CONFIG)


def test_patches_are_those_of_the_networks_grid_that_are_all_road() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (33, 47, 3), dtype=np.uint8)
    road = np.zeros((33, 47), bool)
    road[5:, 10:40] = True
    road[20, 30] = False
    network = RoadAutoencoder()

    pixels = torch.from_numpy(road_patches(image, road))

    whole, _ = network.patches(torch.from_numpy(image).permute(2, 0, 1)[None].float())
    expected = [
        whole[0, :, row, column]
        for row in range(whole.shape[2])
        for column in range(whole.shape[3])
        if road[6 * row : 6 * row + 8, 6 * column : 6 * column + 8].all()
    ]
    assert pixels.shape == (len(expected), 3, 8, 8) and 0 < len(expected) < whole[0, 0].numel()
    torch.testing.assert_close(as_map(pixels)[0, :, 0].T, torch.stack(expected))


def test_a_step_sees_the_road_of_several_frames_in_an_order_of_the_seed(runs: Runs) -> None:
    def batches(seed: int, epoch: int) -> list[torch.Tensor]:
        loader = road_loader(runs.data, VIEWS, seed=seed, epoch=epoch, split="train")
        return list(loader)

    first, second = batches(0, 0)
    assert first.dtype == torch.uint8 and first.shape[1:] == (3, 8, 8) and len(first) >= 3
    assert all(map(torch.equal, (first, second), batches(0, 0)))
    assert not torch.equal(first, batches(0, 1)[0]) and not torch.equal(first, batches(1, 0)[0])


def test_it_learns_to_take_the_noise_out_of_road(trained: Path, runs: Runs) -> None:
    start = RoadAutoencoderTraining(RoadAutoencoderSettings(VIEWS), runs.data)
    pixels = next(iter(road_loader(runs.data, VIEWS, seed=0, epoch=0, split="val")))
    with torch.no_grad():
        before = start.error(pixels, 0.0)
        start.load_state_dict(content(trained, "best.ckpt")["state_dict"])
        assert start.error(pixels, 0.0) < 0.5 * before


def test_what_is_no_road_scores_higher(trained: Path, runs: Runs) -> None:
    chain = open_chain(trained / "best.ckpt")
    image, label = whole_frame(TRAINING_SETS["cityscapes256"](runs.data, "val"), 0, SIZE)
    assert chain.size == SIZE and chain.segmenter is None
    [stage] = chain.stages
    with torch.no_grad():
        score = stage(torch.from_numpy(image)[None])[0].numpy()
    assert (stage.inputs, stage.outputs) == (("image",), ("score",))
    assert score.shape == SIZE and score.min() >= 0 and score.max() <= 1
    assert score[label != ROAD].mean() > score[label == ROAD].mean() + 0.05


def test_a_stopped_run_keeps_its_falling_rate_and_its_best(runs: Runs) -> None:
    whole = runs.fit("whole", FLAT)
    parts = runs.stopped_and_continued("parts", FLAT)
    same_state(whole, parts)
    found = content(parts)
    [group] = found["optimizer_states"][0]["param_groups"]
    assert group["lr"] == pytest.approx(1e-8)  # torch leaves smaller steps out
    assert best_of(found) == pytest.approx(found["lr_schedulers"][0]["best"], rel=1e-4)


def test_the_benchmark_has_rows_for_it(trained: Path, runs: Runs) -> None:
    out = runs.folder / "benchmark"
    code = runs.training(
        *("benchmark", "--checkpoint", trained / "best.ckpt", "--data", runs.data, "--out", out),
        *("--dataset", "procedural_anomalies", "--limit", "2", "--size", "64"),
        *("--protocol", "pooled,segmentation", "--repeats", "0", "--pictures", "0"),
    )
    assert code == 0
    pooled, segmentation = json.loads((out / "results.json").read_text())["tables"]
    assert list(pooled["rows"]) == list(segmentation["rows"]) == ["trained/best.ckpt"]
    assert pooled["rows"]["trained/best.ckpt"]["auroc"]["value"] is not None
    assert segmentation["rows"]["trained/best.ckpt"]["miou"]["value"] is None  # no classes


def test_a_prediction_has_the_images_size_and_no_classes(trained: Path) -> None:
    contender = open_contender(ContenderSpec("checkpoint", str(trained / "best.ckpt")))
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    found = contender.predict(image, CITYSCAPES)
    assert found.score.shape == (50, 70) and found.score.dtype == np.float32
    assert found.predicted is None
    with pytest.raises(CheckpointError, match="road autoencoder, which predicts no classes"):
        open_segmenter(trained / "best.ckpt")


def test_a_step_without_road_teaches_nothing(runs: Runs) -> None:
    module = RoadAutoencoderTraining(RoadAutoencoderSettings(VIEWS), runs.data)
    loss = module.error(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), 0.005)
    loss.backward()
    assert loss == 0 and not module.autoencoder.linear_layer.weight.grad.any()


def test_data_that_do_not_fit_are_refused(runs: Runs) -> None:
    with pytest.raises(DatasetError, match="unknown dataset 'mars'"):
        RoadViews(data="mars")
    with pytest.raises(DatasetError, match="views of 4x64"):
        RoadViews(size=(4, 64))
    with pytest.raises(DatasetError, match="cityscapes256 has no class 'canal'; expected one of"):
        views = RoadViews(data="cityscapes256", road="canal")
        road_loader(runs.data, views, seed=0, epoch=0, split="train")
    with pytest.raises(DatasetError, match="6 frames, fewer than the 50 of one step"):
        views = RoadViews(data="cityscapes256")
        road_loader(runs.data, views, seed=0, epoch=0, split="train")


def test_the_shipped_recipes() -> None:
    _, paper = read_model("resynthesis_road_autoencoder")
    assert paper.noise == 0.005 and paper.plateau.learning_rate == 1e-5
    assert paper.views.frames == 50
    _, lite = read_model("resynthesis_road_autoencoder_lite")
    assert lite.views.size == (256, 512) and lite.views.data == "cityscapes256"
