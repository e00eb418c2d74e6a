"""Published keys to networks: what is tolerated, and what is refused with which words."""

from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomaly_seg_ros.errors import AnomalySegError
from training.weights import WeightsError, build, names, read_checkpoint

NAME = "obsnet/obsnet_segnet_small"


@pytest.fixture
def state() -> dict[str, Tensor]:
    from training.networks.segnet_observer import SmallSegNetObserver

    torch.manual_seed(0)
    return SmallSegNetObserver().state_dict()


def assert_holds(network: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    for key, value in network.state_dict().items():
        assert torch.equal(value, state[key]), key


def test_names_are_method_and_network():
    assert NAME in names()
    assert len(set(names())) == len(names())


def test_a_bare_state_dict_is_loaded_and_the_network_evaluates(state):
    network = build(NAME, state)

    assert_holds(network, state)
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state", "weights"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefixes_fall_away(state, wrapper, prefix):
    wrapped = {"epoch": 7, wrapper: {prefix + key: value for key, value in state.items()}}

    assert_holds(build(NAME, wrapped), state)


def test_counters_may_be_missing_or_too_many(state):
    without = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    with_more = {**state, "up9.num_batches_tracked": torch.zeros((), dtype=torch.long)}

    for tolerated in (without, with_more):
        assert_holds(build(NAME, tolerated), state)


def test_the_network_does_not_share_memory_with_the_checkpoint(state):
    network = build(NAME, state)
    before = state["fc.bias"].clone()
    with torch.no_grad():
        network.get_parameter("fc.bias").add_(1)

    assert torch.equal(state["fc.bias"], before)


def test_class_counts_come_from_the_checkpoint():
    from training.networks.segnet import SegNet

    network = build("obsnet/segnet_camvid", SegNet(14).state_dict())

    assert network.classes == 14


def test_every_wrong_key_is_named_in_one_error(state):
    wrong = dict(state)
    del wrong["fc.weight"]
    wrong["head.weight"] = torch.zeros(1)
    wrong["fc.bias"] = torch.zeros(3)

    with pytest.raises(WeightsError) as caught:
        build(NAME, wrong)

    message = str(caught.value)
    assert isinstance(caught.value, AnomalySegError)
    assert "1 missing: fc.weight" in message
    assert "1 unexpected: head.weight" in message
    assert "fc.bias is [3] instead of [1]" in message


def test_long_lists_of_keys_are_cut(state):
    with pytest.raises(WeightsError) as caught:
        build(NAME, {"other.weight": torch.zeros(1)})

    assert "and 38 more" in str(caught.value)  # 7 units of 6 tensors and fc, without the 6 shown
    assert len(str(caught.value)) < 600


def test_the_weights_of_another_network_are_refused(state):
    with pytest.raises(WeightsError, match="missing: down1"):
        build("obsnet/obsnet_segnet", state)


def test_an_unknown_name_is_answered_with_the_known_ones(state):
    with pytest.raises(WeightsError, match="obsnet/segnet_camvid"):
        build("obsnet/unknown", state)


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, {"state_dict": {"fc.bias": 1.0}}])
def test_content_without_tensors_is_no_state_dict(content):
    with pytest.raises(WeightsError, match="no state_dict"):
        build(NAME, content)


def test_a_saved_checkpoint_is_read(state, tmp_path):
    path = tmp_path / "best.pth"
    torch.save({"state_dict": state, "epoch": 7, "best": 0.9}, path)

    assert_holds(build(NAME, read_checkpoint(path)), state)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no file"):
        read_checkpoint(tmp_path / "absent.pth")


def test_a_pickled_object_is_refused(tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": Path("/")}, path)

    with pytest.raises(WeightsError, match=r"save network.state_dict\(\) alone"):
        read_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"<html>not found</html>"])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "download.pth"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(path)


def test_a_cut_off_file_is_refused(state, tmp_path):
    path = tmp_path / "best.pth"
    torch.save(state, path)
    path.write_bytes(path.read_bytes()[:-5000])

    with pytest.raises(WeightsError, match="cannot be read"):
        read_checkpoint(path)


@settings(deadline=None, max_examples=100)
@given(
    archive=st.booleans(),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_damaged_file_is_read_or_refused(tmp_path_factory, archive, changes):
    buffer = BytesIO()
    content = {"fc.bias": torch.zeros(3), "epoch": {"number": 1}}
    torch.save(content, buffer, _use_new_zipfile_serialization=archive)
    damaged = bytearray(buffer.getvalue())
    for place, value in changes:
        damaged[place % len(damaged)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(damaged)

    with suppress(WeightsError):
        assert isinstance(read_checkpoint(path), dict)


def test_a_list_is_no_checkpoint(tmp_path):
    path = tmp_path / "list.pth"
    torch.save([torch.zeros(1)], path)

    with pytest.raises(WeightsError, match="holds a list"):
        read_checkpoint(path)
