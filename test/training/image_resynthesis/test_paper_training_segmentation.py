"""The paper's segmentation networks train, resume, open again, and serve the baselines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from resynthesis_runs import Runs, same_state, weights
from torch import nn
from torchvision.models import resnet101, vgg

from anomaly_seg_ros.errors import AnomalySegError
from training.checkpoints import CheckpointError, open_segmenter, open_stages
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import CITYSCAPES, VOID
from training.fit import CONFIGS, read_model
from training.methods.image_resynthesis.label_views import LabelViews, crop_loader
from training.methods.image_resynthesis.opening import open_segmentation
from training.methods.image_resynthesis.parts import SegmentationPart
from training.methods.image_resynthesis.segmentation_training import (
    SegmentationSettings,
    SegmentationTraining,
    WholeFrames,
    start_decoder,
    start_segmentation,
)
from training.networks.bayesian_segnet import BayesianSegNet
from training.networks.pspnet import PSPNet
from training.weights import WeightsError

SIZE = (32, 64)
CONFIG = (
    "model: resynthesis_segmentation\nfamily: bayes_segnet\nwidth: 0.125\nepochs: 10\n"
    "views: {data: cityscapes256, size: [32, 64], crop: [32, 64], batch: 3, workers: 0}\n"
    "plateau: {learning_rate: 5.0e-3}\n"
)
SHORT = CONFIG.replace("epochs: 10", "epochs: 2")
VIEWS = LabelViews(data="cityscapes256", size=SIZE, crop=(32, 32), batch=3, workers=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def trained(runs: Runs) -> Path:
    return runs.fit("trained", CONFIG)


def test_it_learns_the_classes_of_the_street(trained: Path, runs: Runs) -> None:
    segmenter = open_segmenter(trained / "best.ckpt")
    assert segmenter.size == SIZE and segmenter.space is CITYSCAPES
    assert isinstance(segmenter.network, BayesianSegNet) and not segmenter.network.training
    right = labelled = 0
    for item in WholeFrames(TRAINING_SETS["cityscapes256"](runs.data, "val"), SIZE):
        with torch.no_grad():
            logits = segmenter.logits(segmenter.prepare(item["image"][None]))[0]
        known = item["label"] != VOID
        right += int((logits.argmax(dim=0) == item["label"])[known].sum())
        labelled += int(known.sum())
    assert right / labelled > 0.9


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(runs: Runs) -> None:
    whole = runs.fit("whole", SHORT)
    parts = runs.stopped_and_continued("parts", SHORT)
    same_state(whole, parts)


def test_members_of_an_ensemble_differ_by_their_seed(runs: Runs) -> None:
    first, again, second = (
        weights(runs.fit(name, SHORT + f"seed: {seed}\n", "--epochs", "1"))
        for name, seed in (("first", 0), ("again", 0), ("second", 1))
    )
    key = "segmentation.dec1.decode.4.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], second[key])


def test_a_random_start_is_said(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    module = SegmentationTraining(SegmentationSettings(width=0.125, views=VIEWS), runs.data)
    with caplog.at_level("INFO"):
        module.on_train_start()
    assert "starts at random, without vgg19_bn's weights" in caplog.text


def test_the_benchmark_runs_the_papers_uncertainties_on_them(trained: Path, runs: Runs) -> None:
    member = runs.folder / "trained" / "final.ckpt"
    out = runs.folder / "benchmark"
    code = runs.training(
        *("benchmark", "--checkpoint", trained / "best.ckpt", "--member", member),
        *("--method", "mc_dropout_variance,deep_ensemble_variance,max_softmax"),
        *("--dataset", "cityscapes256/val", "--data", runs.data, "--out", out, "--limit", "1"),
        *("--protocol", "segmentation", "--repeats", "0", "--pictures", "0"),
    )
    assert code == 0
    [table] = json.loads((out / "results.json").read_text())["tables"]
    assert len(table["rows"]) == 3
    assert all(row["miou"]["value"] > 0.5 for row in table["rows"].values())


def test_a_segmentation_has_no_score_of_its_own(trained: Path) -> None:
    with pytest.raises(CheckpointError, match="no score of its own: name a baseline"):
        open_stages(trained / "best.ckpt")


def test_a_checkpoint_that_tells_nonsense_is_refused(trained: Path, tmp_path: Path) -> None:
    content = torch.load(trained / "best.ckpt", weights_only=True)
    for told, said in (
        ({"family": "unet"}, "segmentation 'unet' of the classes of 'cityscapes'"),
        ({"width": "wide"}, "width is 'wide', expected float"),
        ({"width": 0.25}, "is no checkpoint of bayes_segnet of width 0.25"),
    ):
        content[SegmentationPart.KEY] |= told
        torch.save(content, tmp_path / "odd.ckpt")
        with pytest.raises(CheckpointError, match=said):
            open_segmenter(tmp_path / "odd.ckpt")
        content[SegmentationPart.KEY] |= {"family": "bayes_segnet", "width": 0.125}


def test_the_encoder_starts_as_torchvisions_vgg19_bn(tmp_path: Path) -> None:
    features = vgg.make_layers(vgg.cfgs["E"], batch_norm=True)
    for layer in features.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2)}, tmp_path / "vgg19_bn.pth")
    network = BayesianSegNet()
    start_decoder(network)
    start_segmentation(network, tmp_path / "vgg19_bn.pth")

    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        values, expected = image, features.eval()(image)
        for part in ("enc1", "enc2", "enc3", "enc4", "enc5"):
            values = network.get_submodule(part).eval()(values)
    assert torch.equal(values, expected)
    last = network.dec1.decode[4]
    assert not last.bias.any()
    assert float(last.weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.1)


def test_a_file_of_another_trunk_is_named(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "vgg16.pth")
    with pytest.raises(WeightsError, match=r"vgg16\.pth is no vgg19_bn of torchvision that fits"):
        start_segmentation(BayesianSegNet(), tmp_path / "vgg16.pth")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth is no checkpoint of this Bayesian"):
        start_segmentation(BayesianSegNet(width=0.125), tmp_path / "other.pth")


def test_a_run_starts_from_another_runs_weights(trained: Path, runs: Runs) -> None:
    settings = SegmentationSettings(width=0.125, views=VIEWS)
    module = SegmentationTraining(settings, runs.data, trained / "best.ckpt")
    started, source = module.state_dict(), weights(trained, "best.ckpt")
    assert all(torch.equal(value, source[key]) for key, value in started.items())
    assert module.segmentation.training


def test_pspnet_learns_at_both_heads_from_torchvisions_resnet(runs: Runs, tmp_path: Path) -> None:
    trunk = resnet101(weights=None).state_dict()
    torch.save(trunk, tmp_path / "resnet101.pth")
    settings = SegmentationSettings(family="pspnet", views=VIEWS)
    module = SegmentationTraining(settings, runs.data, tmp_path / "resnet101.pth").train()
    started = module.state_dict()
    for ours, theirs in (("layer0.0.weight", "conv1.weight"), ("layer4.2.bn3.bias",) * 2):
        assert torch.equal(started[f"segmentation.{ours}"], trunk[theirs])
    assert not module.segmentation.aux_logits.bias.any()

    batch = next(iter(crop_loader(runs.data, VIEWS, seed=0, epoch=0)))
    module.training_step(batch, 0).backward()

    learnt = dict(module.segmentation.named_parameters())
    for name in ("aux_logits.weight", "final.4.weight", "layer4.2.conv3.weight", "layer0.0.weight"):
        assert learnt[name].grad is not None and learnt[name].grad.any()
    content = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(content)
    opened = open_segmentation(tmp_path / "best.ckpt", content)
    assert opened.segmenter is not None and isinstance(opened.segmenter.network, PSPNet)
    assert "deep_ensemble_variance" in opened.lacks


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"family": "unet"}, "segmentation 'unet'.*expected one of bayes_segnet, pspnet"),
        ({"family": "pspnet", "width": 0.5}, "pspnet has no other widths than 1, found 0.5"),
        (
            {"family": "pspnet", "views": LabelViews(batch=1)},
            "pspnet in batches of 1.*need 2 or more",
        ),
    ],
    ids=["family", "width", "batch"],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, said: str) -> None:
    with pytest.raises(AnomalySegError, match=said):
        SegmentationSettings(**settings)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("resynthesis_*.yaml")), ids=lambda p: p.stem)
def test_shipped_configurations_are_read(path: Path) -> None:
    read_model(path.stem)


def test_the_shipped_recipes_are_the_papers() -> None:
    for name, family, batch in (("bayes_segnet", "bayes_segnet", 4), ("pspnet", "pspnet", 3)):
        _, settings = read_model(f"resynthesis_{name}_cityscapes")
        assert (settings.family, settings.views.batch) == (family, batch)
        assert settings.views.crop == (384, 768) and settings.views.flip == 0.5
        assert settings.plateau.learning_rate == 1e-4 and settings.plateau.patience == 5
        assert settings.plateau.factor == 0.1 and settings.plateau.least_rate == 1e-8
