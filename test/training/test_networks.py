import pytest
import torch

from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_observer import EVIDENCE, LightObserver
from training.networks.light_pyramid import LightPyramid


@pytest.fixture(scope="module")
def answers():
    torch.manual_seed(0)
    segmentation, observer = Segmentation(LightPyramid()), Observation(LightObserver())
    image = torch.randint(0, 256, (1, 64, 128, 3), dtype=torch.uint8)
    with torch.no_grad():
        logits, labels, *features = segmentation.eval()(image)
        score = observer.eval()(logits, *features)
    return logits, labels, score


def test_the_chain_answers_at_stride_four(answers):
    logits, labels, score = answers
    assert logits.shape == (1, 19, 16, 32)
    assert labels.shape == score.shape == (1, 16, 32)


def test_labels_are_the_most_likely_classes(answers):
    logits, labels, _ = answers
    assert torch.equal(labels.long(), logits.argmax(dim=1))


def test_scores_lie_between_zero_and_one(answers):
    score = answers[2]
    assert score.min() >= 0 and score.max() <= 1


def test_the_default_model_keeps_to_its_size():
    count = sum(p.numel() for net in (LightPyramid(), LightObserver()) for p in net.parameters())
    assert count < 4_000_000


@pytest.mark.parametrize("hidden", EVIDENCE)
def test_an_observer_that_may_not_read_something_never_learns_it(hidden: str) -> None:
    torch.manual_seed(0)
    observer = LightObserver()
    observer.ignore({hidden})
    optimizer = torch.optim.AdamW(observer.parameters(), 0.1)
    logits, pyramid = torch.randn(2, 19, 8, 8), torch.randn(2, 96, 8, 8)
    early_4, early_8 = torch.randn(2, 24, 8, 8), torch.randn(2, 40, 4, 4)
    inputs = {"pyramid": [pyramid], "answer": [logits], "early": [early_4, early_8]}
    for _ in range(2):
        optimizer.zero_grad()
        observer(logits, pyramid, early_4, early_8).square().mean().backward()
        optimizer.step()
    observer.eval()
    with torch.no_grad():
        before = observer(logits, pyramid, early_4, early_8)
        for name, tensors in inputs.items():
            kept = [tensor.clone() for tensor in tensors]
            for tensor in tensors:
                tensor.normal_()
            same = torch.equal(observer(logits, pyramid, early_4, early_8), before)
            assert same == (name == hidden)
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


def test_published_encoder_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match="conv"):
        LightPyramid().load_imagenet_encoder(path)
