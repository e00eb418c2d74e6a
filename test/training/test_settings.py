"""Configurations are read strictly, and every shipped one is."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.fit import CONFIGS, read_config, read_model
from training.methods.image_resynthesis.discrepancy_training import DiscrepancyNetworkSettings
from training.methods.image_resynthesis.generator_training import GeneratorSettings
from training.methods.image_resynthesis.light_training import LightDiscrepancySettings
from training.methods.image_resynthesis.road_training import RoadAutoencoderSettings
from training.methods.image_resynthesis.segmentation_training import SegmentationSettings
from training.methods.obsnet.paper_training import PaperObserverSettings, PaperSegmentationSettings
from training.methods.obsnet.training import ObsNetSettings
from training.settings import ConfigError

OBSERVER = "model: paper_observer\n"
LIGHT = "mixture: {weights: {camvid: 1.0}}\nsteps: 1\n"


# The longest beginning of a configuration's name says what it trains.
TRAINED = {
    "street_obsnet_lite": ObsNetSettings,
    "obsnet_segnet": PaperObserverSettings,
    "obsnet_segnet_camvid_segmentation": PaperSegmentationSettings,
    "obsnet_segnet_half_camvid_segmentation": PaperSegmentationSettings,
    "obsnet_segnet_street_hazards_segmentation": PaperSegmentationSettings,
    "obsnet_segnet_bdd_anomaly_segmentation": PaperSegmentationSettings,
    "obsnet_pyramid": PaperObserverSettings,
    "obsnet_pyramid_camvid_segmentation": PaperSegmentationSettings,
    "resynthesis_lite_generator": GeneratorSettings,
    "resynthesis_lite_discrepancy": LightDiscrepancySettings,
    "resynthesis_bayes_segnet": SegmentationSettings,
    "resynthesis_pspnet": SegmentationSettings,
    "resynthesis_discrepancy": DiscrepancyNetworkSettings,
    "resynthesis_road_autoencoder": RoadAutoencoderSettings,
}


@pytest.mark.parametrize("config", [path.stem for path in CONFIGS.glob("*.yaml")])
def test_every_shipped_configuration_is_read(config: str) -> None:
    beginning = max((name for name in TRAINED if config.startswith(name)), key=len)
    assert type(read_config(config)) is TRAINED[beginning]


def test_the_observers_and_their_segmentations_fit_together() -> None:
    pairs = [path.stem for path in CONFIGS.glob("obsnet_*_segmentation.yaml")]
    assert len(pairs) > 1
    for name in pairs:
        below, above = read_config(name), read_config(name.removesuffix("_segmentation"))
        assert (below.width, below.family, below.views.size, below.views.data) == (
            above.width,
            above.family,
            above.views.size,
            above.views.data,
        )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OBSERVER + "colour: red\n", r"unknown keys \['colour'\] for PaperObserverSettings"),
        (OBSERVER + "views: {zoom: 2}\n", r"views: unknown keys \['zoom'\] for Views"),
        (OBSERVER + "views: {data: moon}\n", "views: no recipe for the dataset 'moon'"),
        (OBSERVER + "attack: magic\n", "unknown attack 'magic'; expected none or min_all_image"),
        (OBSERVER + "observer_init: zero\n", "'zero'; expected one of segmentation, random"),
        (OBSERVER + "epsilon: 1e-3\n", "epsilon is '1e-3', expected float .*write 1.0e-3"),
        (OBSERVER + "epochs: 2.5\n", "epochs is 2.5, expected int"),
        (OBSERVER + "views: 3\n", "found 3 for Views, expected keys and values"),
        ("model: unet\n", "unknown model 'unet'; expected one of .*light_obsnet"),
        (LIGHT + "observer_init: zero\n", "'zero'; expected one of start, random"),
        (LIGHT + "observer_inputs: [depth]\n", "are depth; expected some of pyramid, answer"),
        (LIGHT + "class_weight_offset: 1.0\n", "class_weight_offset 1.0: expected a number above"),
        ("steps: 3\n", r"missing keys \['mixture'\] of ObsNetSettings"),
        ("- 1\n", "found list, expected keys and values"),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_model(str(file))


def test_a_key_of_a_configuration_can_be_set() -> None:
    changes = ["attack=none", "seed=3", "views.batch=2", "epsilon=0.5"]
    _, settings = read_model("obsnet_pyramid_camvid", changes)
    found = (settings.attack, settings.seed, settings.views.batch, settings.epsilon)
    assert found == ("none", 3, 2, 0.5)
    assert settings.views.size == (192, 256)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "--set seed: expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("colour=red", r"unknown keys \['colour'\]"),
        ("epochs.last=3", "--set epochs.last=3: epochs is 8 and has no inner keys"),
        ("attack=[", r"--set attack=\[: '\[' is no YAML value"),
    ],
)
def test_a_key_that_cannot_be_set_is_named(change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_model("obsnet_pyramid_camvid", [change])
