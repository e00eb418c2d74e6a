"""Max-pooling without indices against torch's own."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from training.networks.unpool import max_pool, max_unpool


def torch_there_and_back(values: Tensor) -> tuple[Tensor, Tensor]:
    pooled, indices = functional.max_pool2d(values, 2, return_indices=True)
    # Not of one value for all: so a value that lands on another place shows.
    marked = pooled + torch.arange(pooled.numel()).reshape(pooled.shape)
    return pooled, functional.max_unpool2d(marked, indices, [2, 2], output_size=values.shape[-2:])


def ours_there_and_back(values: Tensor) -> tuple[Tensor, Tensor]:
    pooled, winners = max_pool(values)
    marked = pooled + torch.arange(pooled.numel()).reshape(pooled.shape)
    return pooled, max_unpool(marked, winners)


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(2, 11), st.integers(2, 11)),
    levels=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_ties_go_where_torch_puts_them(size, levels, seed):
    values = np.random.default_rng(seed).integers(0, levels, (2, 3, *size))
    tied = torch.from_numpy(values).float()

    for ours, theirs in zip(ours_there_and_back(tied), torch_there_and_back(tied), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("size", [(360, 480), (361, 479), (72, 104), (33, 65)])
def test_five_poolings_and_back_agree_at_odd_sizes(size):
    values = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0)).relu()
    ours, theirs = values, values
    winners, indices = [], []
    for _ in range(5):
        ours, place = max_pool(ours)
        winners.append(place)
        shape = theirs.shape[-2:]
        theirs, index = functional.max_pool2d(theirs, 2, return_indices=True)
        indices.append((index, shape))
    for _ in range(5):
        ours = max_unpool(ours, winners.pop())
        index, shape = indices.pop()
        theirs = functional.max_unpool2d(theirs, index, [2, 2], output_size=shape)

    assert ours.shape[-2:] == size
    assert torch.equal(ours, theirs)


def test_gradients_flow_to_the_winners_as_in_torch():
    start = torch.randint(0, 3, (1, 2, 7, 9), generator=torch.Generator().manual_seed(0)).float()
    weights = torch.randn(1, 2, 7, 9, generator=torch.Generator().manual_seed(1))
    gradients: list[Tensor] = []
    for there_and_back in (ours_there_and_back, torch_there_and_back):
        values = start.clone().requires_grad_()
        gradients.extend(torch.autograd.grad((there_and_back(values)[1] * weights).sum(), values))

    assert torch.equal(gradients[0], gradients[1])


class ThereAndBack(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        pooled, winners = max_pool(values)
        return max_unpool(pooled * 2, winners)


def test_the_exported_graph_agrees_and_knows_no_indices(tmp_path):
    values = torch.randint(0, 3, (1, 2, 7, 10), generator=torch.Generator().manual_seed(0)).float()
    file = tmp_path / "unpool.onnx"
    torch.onnx.export(
        ThereAndBack().eval(),
        (values,),
        file,
        input_names=["values"],
        dynamo=True,
        opset_version=18,
        external_data=False,
        verbose=False,
    )

    nodes = onnx.load(file).graph.node
    [found] = onnxruntime.InferenceSession(file).run(None, {"values": values.numpy()})

    assert not {node.op_type for node in nodes} & {"MaxUnpool", "ScatterND", "ScatterElements"}
    assert all(len(node.output) == 1 for node in nodes)
    np.testing.assert_array_equal(found, ThereAndBack()(values).numpy())
