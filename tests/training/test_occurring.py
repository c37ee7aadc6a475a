"""A model over the ids that occur is a model over the whole vocabulary."""

import math

import pytest
import torch
import torch.nn.functional as F

from slm.training.model import Size
from slm.training.occurring import classes_of, model_of
from tests.training.test_training import TEXTS, made

SIZE = Size(1, 2, 16)


def test_each_id_that_occurs_has_a_class_and_the_others_share_the_last(tmp_path):
    bins = made(tmp_path / "bins", {"train": TEXTS, "validation": ["what zebras eat"]})
    classes, occurring = classes_of([bins], bins.vocab_size), {*bins.ids("train").tolist()}
    own = [classes[id_].item() for id_ in sorted(occurring)]
    assert own == [*range(len(occurring))]
    others = {classes[id_].item() for id_ in {*range(bins.vocab_size)} - occurring}
    assert others == {len(occurring)}


def test_where_all_ids_occur_none_is_shared():
    model = model_of(torch.arange(64), SIZE, 8, seed=1)
    assert torch.equal(model.share, torch.zeros(64))


@pytest.fixture
def model():
    classes = torch.arange(100).clamp(max=63)  # 63 ids occur, 37 share the class 63
    return model_of(classes, SIZE, 8, seed=1)


def test_the_logits_are_a_distribution_over_all_ids(model):
    x = torch.tensor([[1, 99, 70, 5]])
    chances = model(x).softmax(-1)[0]
    classes = model.model(torch.tensor([[1, 63, 63, 5]])).softmax(-1)[0]
    assert chances.shape == (4, 100)
    assert torch.allclose(chances[:, :63], classes[:, :63], atol=1e-6)
    assert torch.allclose(chances[:, 63:], classes[:, 63:] / 37, atol=1e-7)


def test_the_loss_of_ids_that_occur_is_that_of_the_logits(model):
    x, y = torch.tensor([[1, 99, 70, 5]]), torch.tensor([[3, 4, -100, 62]])
    expected = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    assert math.isclose(model(x, y).item(), expected.item(), rel_tol=1e-6)
