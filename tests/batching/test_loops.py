"""For loops of other people: batches have an end, say what they are, and refuse what goes wrong."""

import pickle
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from slm.batching.ranks import digest
from slm.bins.opening import open_bins
from slm.core.errors import UserError
from tests.batching.test_batching import make, make_bins, refused, some
from tests.helpers import one_line


@pytest.fixture(scope="module")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bins(tmp_path_factory.mktemp("loops") / "bins")


# --- an end ---


@pytest.mark.parametrize("order", ["random", "shuffled", "sequential"])
@pytest.mark.parametrize("begin", [0, 1, 6])
def test_iteration_from_step_s_gives_what_is_left_of_steps(bins, order, begin):
    batches, endless = make(bins, order=order, steps=7), make(bins, order=order)
    batches.step = endless.step = begin
    assert len(batches) == 7
    assert digest(batches, 99) == digest(some(endless, 7 - begin), 99)
    assert batches.step == 7
    with pytest.raises(StopIteration):
        batches.get_batch()
    assert digest(batches, 99) == digest(some(make(bins, order=order), 7), 99)  # begins again


def test_an_end_is_no_part_of_the_state_and_a_run_can_be_made_longer(bins):
    short = make(bins, steps=3)
    list(short)
    assert short.state_dict() == {**make(bins).state_dict(), "rows": 3 * 8}
    longer = make(bins, steps=5)
    longer.load_state_dict(short.state_dict())
    assert digest(longer, 99) == digest(some(make(bins), 5)[3:], 99)


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("begin", [0, 5])
def test_a_dataloader_ends_where_its_batches_end(bins, workers, begin):
    batches = make(bins, steps=8)
    batches.step = begin
    loader = DataLoader(batches, batch_size=None, num_workers=workers)
    assert len(loader) == 8
    assert digest(loader, 99) == digest(some(make(bins), 8)[begin:], 99)


def test_persistent_workers_go_through_all_steps_again_and_again(bins):
    loader = DataLoader(make(bins, steps=5), None, num_workers=2, persistent_workers=True)
    assert digest(loader, 99) == digest(loader, 99) == digest(some(make(bins), 5), 99)


def test_pickled_batches_have_the_same_end(bins):
    batches = make(bins, steps=5)
    batches.step = 2
    copy = pickle.loads(pickle.dumps(batches))  # noqa: S301
    assert len(copy) == 5 and len(list(copy)) == 3


def test_a_compiled_step_stops_at_the_end(bins):
    batches = make(bins, steps=2)

    @torch.compile(backend="eager")
    def step() -> torch.Tensor:
        x, y = batches.get_batch()
        return x.sum() + y.sum()

    assert [int(step()) for _ in range(2)] == [int((x + y).sum()) for x, y in some(make(bins), 2)]
    with pytest.raises(StopIteration):
        step()


@pytest.mark.parametrize("steps", [0, -1, 2.0, "2", True])
def test_steps_that_are_no_number_of_steps_are_refused(bins, steps):
    assert f"steps is {steps!r}; it must be an integer, at least 1" in refused(bins, steps=steps)


def test_more_steps_than_sequential_has_are_refused_with_those_it_has(bins):
    most = len(make(bins, order="sequential"))
    assert len(make(bins, order="sequential", steps=most)) == most
    message = refused(bins, order="sequential", steps=most + 1)
    assert f"steps is {most + 1}" in message and f"at most {most}" in message


# --- what it says it is ---


def test_the_repr_is_one_line_that_says_what_it_is(bins):
    batches = make(open_bins(bins), rank=1, world_size=2)
    some(batches, 3)
    assert repr(batches) == (
        f"Batches('train' of {bins}, shuffled, 8 x 16, seed 1337, rank 1 of 2, "
        "on cpu (host), step 3)"
    )
    assert repr(make(bins, steps=9)).endswith("step 0 of 9)")


# --- refusals ---


def refusal(loader: DataLoader) -> str:
    """The error of its first batch; what is kept of it would keep workers, which end in seconds."""
    iterator = iter(loader)
    try:
        next(iterator)
    except UserError as error:
        return str(error)
    raise AssertionError("not refused")


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataloader_that_would_stack_batches_is_refused_with_the_cure(bins, rows, workers):
    message = refusal(DataLoader(make(bins, steps=8), batch_size=rows, num_workers=workers))
    assert "pass it batch_size=None" in message and "\n" not in message
    assert len(list(DataLoader(make(bins, steps=8), batch_size=None, num_workers=workers))) == 8


def test_a_collate_function_of_ones_own_may_take_batches(bins):
    loader = DataLoader(make(bins), collate_fn=lambda batches: batches[0])
    assert digest(loader, 3) == digest(make(bins), 3)


def test_what_accelerate_calls_is_refused_with_the_cure(bins):
    with pytest.raises(ValueError, match="prepare the model and the optimizer alone") as error:
        make(bins).set_epoch(0)
    one_line(error)
