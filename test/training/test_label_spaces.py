import numpy as np
import pytest

from training.data.label_spaces import SPACES


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_train_id_belongs_to_exactly_one_group(space):
    np.testing.assert_array_equal(space.matrix.sum(axis=1), np.ones(19))


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_group_has_a_name(space):
    assert len(space.names) == len(space.groups)


def test_folding_keeps_the_sum_of_probabilities():
    probabilities = np.random.default_rng(0).dirichlet(np.ones(19), size=5)
    for space in SPACES:
        np.testing.assert_allclose((probabilities @ space.matrix).sum(axis=1), 1.0, rtol=1e-6)
