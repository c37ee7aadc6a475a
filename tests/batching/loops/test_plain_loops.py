"""The recipes that need PyTorch alone resume at the very next batch."""

import pytest

from tests.batching.loops.recipes import STEPS, folder, recipe, resumes, run, seen, wanted

pytestmark = pytest.mark.slow
__all__ = ["folder"]


def test_a_plain_loop_resumes_at_the_next_batch(folder):
    resumes(folder, recipe("plain.pt"))


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_dataloader_resumes_at_the_next_batch(folder, workers):
    resumes(folder, recipe("loader.pt", num_workers=workers))


def test_ranks_of_torchrun_resume_at_the_next_batch(folder):
    resumes(folder, recipe("ddp.pt"), ranks=2)


def test_an_evaluation_does_not_move_the_training(folder):
    run(folder, recipe("def evaluate"))
    assert seen(folder) == wanted(folder, 0, STEPS)
