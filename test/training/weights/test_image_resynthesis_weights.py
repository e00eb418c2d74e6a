"""The files that Image Resynthesis' training loops write, read as published."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.networks.discrepancy import DiscrepancyNetwork
from training.networks.road_autoencoder import RoadAutoencoder
from training.weights import WeightsError, build, read_checkpoint

RBM = "image_resynthesis/rbm_0525"


@pytest.fixture
def weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return RoadAutoencoder().state_dict()


@pytest.mark.parametrize("kind", [float, np.float64, np.float32])
@pytest.mark.parametrize("archive", [True, False])
def test_weights_beside_the_state_of_training_are_read(weights, tmp_path, kind, archive):
    path = tmp_path / "chk_best.pth"
    training = {"epoch_idx": np.int64(7), "best_loss_val": kind(0.25), "run_name": "training_2019"}
    torch.save(
        {"weights": weights, "state": training}, path, _use_new_zipfile_serialization=archive
    )

    content = read_checkpoint(path)

    assert content["state"] == training
    assert type(content["state"]["best_loss_val"]) is float
    for key, value in build(RBM, content).state_dict().items():
        assert torch.equal(value, weights[key]), key


def test_numbers_written_by_an_older_numpy_are_read(weights, tmp_path):
    path = tmp_path / "chk_best.pth"
    content = {"weights": weights, "state": {"best_loss_val": np.float64(0.25)}}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    newer, older = b"cnumpy._core.multiarray\nscalar", b"cnumpy.core.multiarray\nscalar"
    written = path.read_bytes()
    assert newer in written
    path.write_bytes(written.replace(newer, older))

    assert read_checkpoint(path)["state"]["best_loss_val"] == 0.25


@settings(deadline=None, max_examples=100)
@given(
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_a_damaged_number_is_read_or_refused(tmp_path_factory, changes):
    buffer = BytesIO()
    content = {"state": {"best_loss_val": np.float64(0.25), "epoch_idx": np.int64(7)}}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    damaged = bytearray(buffer.getvalue())
    start = damaged.index(b"numpy")
    for place, value in changes:
        damaged[start + place % (len(damaged) - start)] = value
    path = tmp_path_factory.getbasetemp() / "damaged_number.pth"
    path.write_bytes(damaged)

    with suppress(WeightsError):
        assert isinstance(read_checkpoint(path), dict)


@pytest.mark.parametrize("other", [np.zeros(2), np.datetime64("2019-10-27"), Path("/")])
def test_what_is_no_number_is_still_refused(weights, tmp_path, other):
    path = tmp_path / "chk_best.pth"
    torch.save({"weights": weights, "state": {"other": other}}, path)

    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(path)


def test_reading_leaves_the_rules_of_torch_as_they_were(weights, tmp_path):
    path = tmp_path / "chk_best.pth"
    torch.save({"weights": weights, "state": {"best_loss_val": np.float64(0.25)}}, path)
    before = set(torch.serialization.get_safe_globals())

    read_checkpoint(path)

    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize(
    ("name", "other"),
    [("full_0521", {"labels": False}), ("gen_only_0516", {}), ("labels_only_0517", {})],
)
def test_the_weights_of_another_variant_are_refused(name, other):
    state = DiscrepancyNetwork(**other).state_dict()

    with pytest.raises(WeightsError, match=r"cmis.0.conv_1x1.weight is \[512, "):
        build(f"image_resynthesis/discrepancy_{name}", state)


def test_only_the_published_network_without_synthesis_has_road_around_its_labels():
    borders = {
        name: build(
            f"image_resynthesis/discrepancy_{name}", DiscrepancyNetwork(**reads).state_dict()
        ).road_border
        for name, reads in {"full_0521": {}, "labels_only_0517": {"synthesis": False}}.items()
    }

    assert borders == {"full_0521": False, "labels_only_0517": True}
