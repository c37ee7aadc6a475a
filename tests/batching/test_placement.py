"""Placements: any device of PyTorch's, and files that memory does not hold."""

import mmap
import re

import numpy as np
import pytest
import torch

from slm.batching import paging
from slm.batching.device import Copied, OnDevice, to_device
from slm.batching.gpu.prefetch import advise
from slm.batching.host import OnHost, Reader
from slm.batching.orders.pieces import DocumentIndex
from slm.batching.orders.rows import Rows, Split
from slm.batching.paging import Pages, mapping, page_ranges
from slm.batching.placement import device_of, devices, placement_for, source
from slm.batching.sampling import ORDERS, plan
from tests.helpers import one_line

TOKENS, SIZE, BATCH = 50_000, 16, 8


@pytest.fixture(params=[np.uint16, np.uint32])
def ids(request, tmp_path) -> np.memmap:
    """Token i is i, mapped."""
    np.arange(TOKENS, dtype=request.param).tofile(tmp_path / "train.bin")
    return np.memmap(tmp_path / "train.bin", request.param, "r")


OFFSETS = np.array([0, 3, 20, 20, 1000, *range(1010, TOKENS, 10), TOKENS])


def rows(ids: np.ndarray, order: str = "shuffled", batch_size: int = BATCH) -> Rows:
    index = DocumentIndex(OFFSETS, False)
    split = Split(ids, plan(order, 1337, TOKENS, SIZE, OFFSETS), index)
    return Rows([split], batch_size, documents=True)


class Recorder:
    """A memory map that keeps the advice that it is given."""

    def __init__(self, size: int) -> None:
        self.size, self.named = size, []

    def __len__(self) -> int:
        return self.size

    def madvise(self, advice: int, begin: int, size: int) -> None:
        assert advice == mmap.MADV_WILLNEED
        self.named.append((begin, size))


def recorded(near: Pages) -> list:
    near._map = Recorder(len(near._map))
    return near._map.named


# --- other devices ---


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_any_device_gives_the_batches_of_the_host(ids, order, reuse):
    """Also past the end of "sequential", and after a jump."""
    wanted = OnHost(rows(np.array(ids), order, 1000), False)
    cpu, mine = torch.device("cpu"), rows(ids, order, 1000)
    copied = Copied(rows(ids, order, 1000), reuse, cpu)
    on_device = OnDevice(to_device(mine, cpu), mine, reuse)
    for step in (0, 1, 2, 3, 4, 1):
        wanted.step = copied.step = on_device.step = step
        batch = wanted.batch().tensors()
        for other in (copied, on_device):
            found = other.batch()
            assert all(map(torch.equal, found.tensors(), batch))
            x, y = found.pair
            assert x.dtype == y.dtype == torch.int64
            assert x.is_contiguous()
            assert y.is_contiguous()
            assert other.step == step + 1


@pytest.mark.parametrize("make", [
    lambda ids, reuse: Copied(rows(ids), reuse, torch.device("cpu")),
    lambda ids, reuse: OnDevice(to_device(rows(ids), torch.device("cpu")), rows(ids), reuse),
])  # fmt: skip
def test_a_device_gets_fresh_tensors_unless_reuse_is_asked_for(ids, make):
    for reuse, wanted in ((False, 10), (True, 2)):
        made = make(ids, reuse)
        kept = [made.batch().pair.unbind() for _ in range(5)]
        assert len({tensor.data_ptr() for pair in kept for tensor in pair}) == wanted


def test_a_device_without_cuda_takes_copies_or_plain_pytorch(ids):
    meta = torch.device("meta")  # stands for one: nothing is read back here
    assert type(source(rows(ids), meta, "host", False)) is Copied
    assert type(source(rows(ids), meta, "device", False)) is OnDevice


@pytest.mark.parametrize("device", ["mps", "xpu", "hpu:1"])
def test_auto_leaves_the_tokens_of_other_devices_on_the_host(device):
    assert placement_for("auto", torch.device(device), 1) == "host"
    assert placement_for("device", torch.device(device), 2**50) == "device"


@pytest.mark.parametrize("device", ["meta", "tape", "hpu", "vulkan", "mtia", "cpu!", "", None])
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device):
    with pytest.raises(ValueError) as error:
        device_of(device)
    assert f"device is {str(device)!r}" in one_line(error)
    assert re.search(r"it has cpu[ ,]", one_line(error))


def test_each_device_that_is_here_is_taken():
    assert devices()[0] == "cpu"
    for name in devices():
        assert str(device_of(name)) == name


# --- files beyond memory ---


@pytest.mark.parametrize("offset", [0, 10_000, 4096 * 3 - 2])
@pytest.mark.parametrize("itemsize", [2, 4])
def test_the_pages_of_each_row_are_named_by_address(offset, itemsize):
    starts = np.random.default_rng(5).integers(0, 10**6, 500)
    size, last = 3000, 10**9
    ranges = page_ranges(starts, size, itemsize, offset, last)
    assert ranges == sorted(ranges)
    for start, (begin, length) in zip(np.sort(starts), ranges, strict=True):
        first = offset + start * itemsize
        assert begin % mmap.PAGESIZE == length % mmap.PAGESIZE == 0
        assert begin <= first < begin + mmap.PAGESIZE
        assert 0 <= begin + length - (first + size * itemsize) < mmap.PAGESIZE


def test_no_page_behind_the_file_is_named():
    assert page_ranges(np.array([10**6]), 16, 2, 0, 3)[0][0] == 3 * mmap.PAGESIZE


def test_the_map_and_the_place_in_it_are_found_behind_views(ids):
    view = np.asarray(ids)[5000:]
    assert mapping(view) is mapping(ids)
    assert paging.offset(view, mapping(view)) == 5000 * ids.itemsize
    assert mapping(np.array(ids)) is None


def test_pages_are_named_only_while_rows_come_from_the_disk(ids, monkeypatch):
    read = iter([0, 1000, 1015, 1015, 1032])
    monkeypatch.setattr(paging, "pages_read", lambda: next(read))
    near = Pages(ids)
    named, starts, seen = recorded(near), np.arange(5) * 1000, []
    for _ in range(5):
        named.clear()
        near.advise(starts, SIZE + 1)
        seen.append(len(named))
        if len(seen) < 5:
            near.gathered(1024)  # 16 pages of it are a 64th
    assert seen == [5, 5, 0, 0, 5]


@pytest.mark.parametrize("order", ["random", "shuffled", "packed"])
def test_the_pages_of_a_slot_are_named_before_its_turn(ids, order):
    reader, drawn = Reader(rows(ids, order)), rows(ids, order)
    named, steps = recorded(reader._pages[0]), 3
    advise(reader, 7, steps)
    known = {begin for begin, _ in named}
    for step in range(7, 7 + steps):
        starts = drawn.pieces(step).start if order == "packed" else drawn.starts(step)
        first = starts * ids.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
        assert known.issuperset(first.tolist())
    reader._pages[0].cold = False
    named.clear()
    advise(reader, 99, steps)
    assert named == []


def test_the_host_names_the_pages_of_the_next_step(ids):
    host = OnHost(rows(ids), False)
    named, wanted = recorded(host._reader._pages[0]), rows(ids)
    host.batch()
    first = np.sort(wanted.starts(1)) * ids.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
    assert [begin for begin, _ in named] == first.tolist()


def test_what_follows_or_lies_in_memory_is_left_to_the_kernel(ids):
    assert Reader(rows(ids)).cold
    assert not Reader(rows(ids, "sequential")).cold
    assert not Reader(rows(np.array(ids))).cold


@pytest.mark.parametrize("order", ORDERS)
def test_a_system_without_advice_gives_the_same(ids, order, monkeypatch):
    with_it = OnHost(rows(ids, order), False)
    wanted = [with_it.batch() for _ in range(100)]
    monkeypatch.setattr(paging, "resource", None)
    without = OnHost(rows(ids, order), False)
    assert not without._reader.cold
    for batch in wanted:
        assert all(map(torch.equal, batch.tensors(), without.batch().tensors()))


def test_refused_advice_is_no_error(ids):
    near = Pages(ids)

    def refuse(*_: object) -> None:
        raise OSError

    near._map = type("Map", (), {"__len__": lambda _: 10**6, "madvise": refuse})()
    near.advise(np.arange(5), SIZE + 1)
