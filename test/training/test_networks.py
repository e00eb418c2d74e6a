import pytest
import torch

from training.methods.obsnet.pipeline import Observation, Segmentation
from training.networks.light_observer import LightObserver
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


def test_published_encoder_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save({"conv.weight": torch.zeros(8, 3, 3, 3)}, path)
    with pytest.raises(ValueError, match="conv"):
        LightPyramid().load_imagenet_encoder(path)
