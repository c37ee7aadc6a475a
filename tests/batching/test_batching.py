"""Batches: exact, resumable, and the same wherever the tokens lie and however many ranks there are.

Token i is i (modulo the type), so that x alone says where a row starts and y must be x + 1.
"""

import copy
import hashlib
import io
import json
import pickle
import random
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from slm.batching.batches import Batches
from slm.batching.device import OnDevice, to_device
from slm.batching.opening import split_of
from slm.batching.orders.rows import Rows
from slm.batching.placement import placement_for
from slm.batching.ranks import digest, distributed, union
from slm.batching.sampling import plan, starts
from slm.batching.tensors import NO_TARGET
from slm.bins.format import write_docs, write_manifest
from slm.bins.opening import Bins, open_bins
from slm.core.ids import dtype_for, write_ids
from tests.helpers import one_line

WINDOWS = ("random", "shuffled", "sequential")
ORDERS = (*WINDOWS, "packed")
TOKENS = 50_000
LENGTHS = [0, 1, 7, 300, 0, 2, 2, 1000, 1, 40]  # tokens of documents, over and over
CUDA = torch.cuda.is_available()
GPU = pytest.mark.skipif(not CUDA, reason="no CUDA GPU")
PLACES = [("cpu", "host"), ("cpu", "device")] + [("cuda", p) for p in ("host", "device") if CUDA]


def make_bins(folder: Path, tokens: int = TOKENS, vocab_size: int = 2**16, shift: int = 0) -> Path:
    """A folder of bins whose token i is i + shift."""
    folder.mkdir()
    dtype = dtype_for(vocab_size)
    lengths = (LENGTHS * (tokens // sum(LENGTHS) + 1))[: 10 * (tokens // sum(LENGTHS))]
    edges = np.cumsum([0, *lengths, tokens - sum(lengths)])
    ids = (np.arange(tokens) + shift) % vocab_size
    docs = np.stack([edges, edges * 4], 1)
    splits = {}
    for split in ("train", "validation"):
        files = {
            f"{split}.bin": write_ids(folder / f"{split}.bin", [ids], dtype),
            f"{split}.docs.npy": write_docs(folder / f"{split}.docs.npy", [docs], len(docs) - 1),
        }
        splits[split] = {"tokens": tokens, "files": files}
    write_manifest(folder, {"dtype": dtype.name, "splits": splits})
    return folder


@pytest.fixture(scope="module")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bins(tmp_path_factory.mktemp("batching") / "bins")


def make(bins: Path | Bins, **options) -> Batches:
    return Batches(bins, "train", **{"batch_size": 8, "block_size": 16, "seed": 1337, **options})


def some(batches: Batches, steps: int) -> list:
    return list(islice(batches, steps))


def refused(bins: Path, **options) -> str:
    with pytest.raises(Exception) as error:
        make(bins, **options)
    return one_line(error)


# --- what stands in a batch ---


@pytest.mark.parametrize(("device", "placement"), PLACES)
@pytest.mark.parametrize(("batch", "block"), [(1, 1), (3, 7), (8, 16), (64, 256), (2, 1500)])
@pytest.mark.parametrize("order", WINDOWS)
def test_each_target_is_the_next_token(bins, order, batch, block, device, placement):
    options = {"order": order, "batch_size": batch, "block_size": block, "documents": True}
    batches = make(bins, **options, device=device, placement=placement)
    for step, (x, y, documents) in enumerate(some(batches, 5)):
        assert x.dtype == y.dtype == torch.int64
        assert x.shape == y.shape == documents.ids.shape == (batch, block)
        assert x.is_contiguous()
        assert y.is_contiguous()
        begin = torch.from_numpy(starts(plan(order, 1337, TOKENS, block), step, batch)[0])
        wanted = begin[:, None] + torch.arange(block)
        has = wanted < TOKENS - 1
        assert torch.equal(x.cpu(), torch.where(has, wanted, 0))
        assert torch.equal(y.cpu(), torch.where(has, wanted + 1, NO_TARGET))


@pytest.mark.parametrize("order", ["random", "shuffled"])
def test_both_ends_of_the_data_are_reached(tmp_path, order):
    folder = make_bins(tmp_path / "bins", tokens=40)
    batches = some(make(folder, order=order, block_size=7), 100)
    assert min(int(x.min()) for x, _ in batches) == 0
    assert max(int(y.max()) for _, y in batches) == 39
    assert max(int(x.max()) for x, _ in batches) == 38


@pytest.mark.parametrize(("device", "placement"), PLACES)
@pytest.mark.parametrize(("tokens", "batch", "block", "ranks"), [
    (40, 3, 7, 1), (41, 2, 8, 3), (8, 4, 7, 2), (1000, 7, 9, 4), (5, 4, 3, 1),
])  # fmt: skip
def test_sequential_has_each_token_but_the_first_once(
    tmp_path, tokens, batch, block, ranks, device, placement
):
    folder = make_bins(tmp_path / "bins", tokens=tokens)
    targets = []
    for rank in range(ranks):
        options = {"order": "sequential", "batch_size": batch, "block_size": block}
        options |= {"rank": rank, "world_size": ranks, "device": device, "placement": placement}
        batches = make(folder, **options)
        actual = list(batches)
        assert len(actual) == len(batches) == -(-(tokens - 1) // (batch * ranks * block))
        with pytest.raises(StopIteration):
            batches.get_batch()
        for x, y in actual:
            assert x.shape == y.shape == (batch, block)
            has = y != NO_TARGET
            assert torch.equal(x[has] + 1, y[has])
            assert not x[~has].any()
            targets += y[has].tolist()
        assert digest(batches, 99) == digest(actual, 99)  # at its end it begins again
    assert sorted(targets) == list(range(1, tokens))


def test_an_endless_order_has_no_length(bins):
    with pytest.raises(TypeError, match="no end"):
        len(make(bins))


def test_ids_above_uint16_are_not_cut(tmp_path):
    folder = make_bins(tmp_path / "bins", vocab_size=2**17, shift=2**16)
    for device, placement in PLACES:
        [(x, y)] = some(make(folder, device=device, placement=placement), 1)
        assert x.min() >= 2**16
        assert torch.equal(y, x + 1)


@pytest.mark.parametrize("order", ORDERS)
def test_plain_pytorch_on_a_device_gives_the_same(bins, order):
    wanted = make(bins, order=order, batch_size=100, block_size=100)
    split = split_of(open_bins(bins), "train", order, 1337, 100, False)
    rows = Rows([split], 100)
    device = "cuda" if CUDA else "cpu"
    for reuse in (False, True):
        source = OnDevice(to_device(rows, torch.device(device), chunk=999), rows, reuse)
        wanted.step = 0
        for x, y in some(wanted, 6):
            found_x, found_y = source.batch().items()
            assert torch.equal(found_x.cpu(), x)
            assert torch.equal(found_y.cpu(), y)


# --- one digest ---


@pytest.mark.parametrize("order", ORDERS)
def test_the_digest_is_that_of_any_number_of_ranks_and_placement(bins, order):
    actual = set()
    for ranks in (1, 2, 4, 8):
        for device, placement in PLACES:
            options = {"order": order, "device": device, "placement": placement}
            options |= {"batch_size": 64 // ranks, "world_size": ranks}
            parts = [make(bins, rank=rank, **options) for rank in range(ranks)]
            actual.add(digest(union(parts), 60))
    assert len(actual) == 1


@pytest.mark.parametrize("order", ORDERS)
def test_two_resumes_go_on_with_the_next_batch(bins, order):
    """The second with four ranks instead of one, and through JSON."""
    whole = digest(make(bins, order=order, batch_size=64), 50)
    first = make(bins, order=order, batch_size=64)
    parts = some(first, 13)
    second = make(bins, order=order, batch_size=64)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    parts += some(second, 20)
    state = json.loads(json.dumps(second.state_dict()))
    ranks = [make(bins, order=order, batch_size=16, rank=r, world_size=4) for r in range(4)]
    for rank in ranks:
        rank.load_state_dict(state)
    rest = union(islice(rank, 17) for rank in ranks)
    assert digest(chain(parts, rest), 50) == whole


def test_the_digest_is_of_x_then_y_in_little_endian(bins):
    actual = hashlib.sha256()
    for x, y in some(make(bins), 3):
        for value in (*x.flatten().tolist(), *y.flatten().tolist()):
            actual.update(value.to_bytes(8, "little"))
    assert digest(make(bins), 3) == actual.hexdigest()


GLOO = """
import sys, torch, torch.distributed as dist
from slm.batching import Batches, digest, distributed, union
assert distributed() == (0, 1)
dist.init_process_group("gloo", init_method="file://" + sys.argv[2],
                        rank=int(sys.argv[3]), world_size=2)
rank, world = distributed()
batches = Batches(sys.argv[1], "train", batch_size=32, block_size=16, seed=1337, rank=rank,
                  world_size=world)
union = []
for _ in range(9):
    pair = torch.stack(batches.get_batch())
    both = [torch.empty_like(pair) for _ in range(world)]
    dist.all_gather(both, pair)
    union.append(torch.cat(both, 1).unbind())
print(digest(union, 9))
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_over_gloo_draw_the_same_union(bins, tmp_path):
    command = [sys.executable, "-c", GLOO, str(bins), str(tmp_path / "meet")]
    ranks = [subprocess.Popen([*command, str(r)], stdout=subprocess.PIPE) for r in range(2)]
    wanted = digest(make(bins, batch_size=64), 9)
    assert [rank.communicate(timeout=120)[0].decode().strip() for rank in ranks] == [wanted] * 2


def test_without_torch_distributed_there_is_one_rank():
    assert distributed() == (0, 1)


# --- random state ---


def test_no_global_random_state_is_read_or_changed(bins):
    wanted = digest(make(bins), 9)
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    batches = make(bins, documents=True)
    assert digest(batches, 9) == wanted
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    batches = make(bins)
    drawn = []
    for batch in islice(batches, 9):
        torch.rand(3), np.random.rand(3)
        drawn.append(batch)
    assert digest(drawn, 9) == wanted


# --- fresh tensors, or the same ones ---


@pytest.mark.parametrize(("device", "placement"), PLACES)
def test_tensors_are_fresh_unless_reuse_is_asked_for(bins, device, placement):
    options = {"device": device, "placement": placement, "order": "sequential"}
    fresh = make(bins, **options)
    kept = [(x, y, x.clone(), y.clone()) for x, y in fresh]
    assert all(torch.equal(x, was_x) and torch.equal(y, was_y) for x, y, was_x, was_y in kept)
    pointers = {tensor.data_ptr() for x, y, *_ in kept for tensor in (x, y)}
    assert len(pointers) == 2 * len(kept)
    reused = make(bins, **options, reuse=True)
    seen = [(x.data_ptr(), y.data_ptr(), x.clone(), y.clone()) for x, y in reused]
    assert len({pair[:2] for pair in seen}) == 1
    assert digest([(x, y) for *_, x, y in seen], 99) == digest([k[:2] for k in kept], 99)


# --- the state ---


def test_the_state_is_small_and_plain(bins):
    batches = make(bins, seed=2**64 - 1, order="sequential", block_size=16)
    batches.step = 2**50
    state = batches.state_dict()
    assert len(json.dumps(state)) < 300
    assert state["rows"] == 2**50 * 8
    assert state["data"] == open_bins(bins).manifest["sha256"]


@pytest.mark.parametrize(("key", "other"), [
    ("seed", 1), ("order", "random"), ("block_size", 15), ("batch_size", 9),
])  # fmt: skip
def test_a_state_of_something_else_is_refused_with_both_values(bins, key, other):
    state = make(bins, **{key: other}).state_dict()
    batches = make(bins)
    here = {"seed": 1337, "order": "shuffled", "block_size": 16, "batch_size": 8}[key]
    with pytest.raises(Exception) as error:
        batches.load_state_dict(state)
    assert repr(other) in one_line(error)
    assert repr(here) in one_line(error)


@pytest.mark.parametrize("other", [None, 1, 3])
def test_a_state_of_another_sampling_is_refused_with_what_to_do(bins, other):
    state = {**make(bins).state_dict(), "sampling": other}
    if other is None:  # as sampling 1 wrote it
        del state["sampling"]
    with pytest.raises(Exception) as error:
        make(bins).load_state_dict(state)
    assert f"of sampling {other or 1} and this slm draws sampling 2" in one_line(error)
    assert "finish that run with the slm that began it, or begin a new one" in one_line(error)


def test_a_state_of_other_data_is_refused(bins, tmp_path):
    other = make_bins(tmp_path / "bins", shift=1)
    state = make(other).state_dict()
    with pytest.raises(Exception) as error:
        make(bins).load_state_dict(state)
    assert state["data"] in one_line(error)
    assert open_bins(bins).manifest["sha256"] in one_line(error)
    validation = Batches(bins, "validation", batch_size=8, block_size=16, seed=1337)
    with pytest.raises(Exception, match=r"'validation'.*'train'"):
        make(bins).load_state_dict(validation.state_dict())
    with pytest.raises(Exception) as error:
        make(bins).load_state_dict({})
    assert "None" in one_line(error)
    with pytest.raises(ValueError, match="rows of the state is -1"):  # a UserError is one
        make(bins).load_state_dict({**make(bins).state_dict(), "rows": -1})


# --- refusals ---


@pytest.mark.parametrize(("options", "says"), [
    ({"block_size": TOKENS}, "50001"),
    ({"block_size": 0}, "block_size is 0"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"order": "sorted"}, "'sorted'"),
    ({"placement": "disk"}, "'disk'; it must be one of auto, host, device"),
    ({"device": "meta"}, "'meta'"),
    ({"device": "tape"}, "'tape'"),
    ({"batch_size": "8"}, "batch_size is '8'"),
    ({"rank": 2, "world_size": 2}, "rank is 2"),
    ({"seed": -1}, "seed is -1"),
    ({"block_size": 2**40}, f"block_size is {2**40}; it must be an integer, in 1 … {2**31 - 1}"),
    ({"block_size": 2**30, "order": "packed"}, f"a row of {2**30} and the data has {TOKENS};"),
    ({"batch_size": 2**31 // 16}, "a batch of 2,147,483,648 tokens is too large"),
    ({"steps": 2**61}, "rows are counted up to 2^62 and this makes"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(bins, options, says):
    assert says in refused(bins, **options)


def test_an_unknown_split_is_refused_with_those_there_are(bins):
    with pytest.raises(Exception) as error:
        Batches(bins, "test", batch_size=8, block_size=16, seed=1)
    assert "'test'" in one_line(error)
    assert "train, validation" in one_line(error)


def test_content_is_verified_on_request(tmp_path):
    folder = make_bins(tmp_path / "bins")
    make(folder, verify=True)
    with (folder / "train.bin").open("r+b") as file:
        file.write(b"\xff")
    make(folder)
    assert "train.bin differs in chunk 0" in refused(folder, verify=True)


@pytest.mark.skipif(CUDA, reason="there is a CUDA GPU")
def test_a_missing_gpu_is_one_line(bins):
    says = "device is 'cuda', which PyTorch does not find here; it has cpu ("
    assert says in refused(bins, device="cuda")


def test_the_placement_is_said(bins):
    assert make(bins).placement == "host"
    assert make(bins, placement="device").placement == "device"


def test_auto_takes_the_device_up_to_half_of_its_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (1000, 5000))
    cuda = torch.device("cuda", 0)
    assert [placement_for("auto", cuda, size) for size in (500, 501)] == ["device", "host"]
    assert placement_for("host", cuda, 1) == "host"
    assert placement_for("device", cuda, 9999) == "device"


# --- documents ---


@pytest.mark.parametrize(("device", "placement"), PLACES)
@pytest.mark.parametrize("order", WINDOWS)
def test_documents_are_those_of_the_offsets(bins, order, device, placement):
    batches = make(bins, order=order, block_size=300, documents=True,
                   device=device, placement=placement)  # fmt: skip
    edges = open_bins(bins).docs("train")[:, 0].astype(np.int64)
    document_of = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
    shapes = set()
    for x, y, documents in some(batches, 25):
        has = (y != NO_TARGET).cpu().numpy()
        ids, positions = documents.ids.cpu().numpy(), documents.positions.cpu().numpy()
        assert (ids == np.where(has, document_of[x.cpu().numpy()], -1)).all()
        slots = documents.cu_seqlens[:-1].view(len(ids), -1).tolist()
        assert documents.cu_seqlens[-1] == ids.size
        for at, (row, places) in enumerate(zip(ids, positions, strict=True)):
            begins = []
            for j in range(len(row)):
                begins += [j] if j == 0 or row[j] != row[j - 1] else []
                assert places[j] == j - begins[-1]
            unused = [len(row)] * (len(slots[at]) - len(begins))
            assert slots[at] == [at * len(row) + begin for begin in begins + unused]
        assert documents.cu_seqlens.dtype == torch.int32
        shapes.add(documents.cu_seqlens.shape)
    assert len(shapes) == 1


# --- in a DataLoader ---


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_dataloader_gives_the_same_batches_in_the_same_order(bins, workers):
    for order, steps in (("shuffled", 20), ("sequential", 999)):
        generator = torch.Generator()  # or the loader draws from PyTorch's global state
        loader = DataLoader(make(bins, order=order, block_size=512), batch_size=None,
                            num_workers=workers, generator=generator)  # fmt: skip
        actual = digest(islice(loader, steps), steps)
        assert actual == digest(make(bins, order=order, block_size=512), steps)


def test_workers_states_resume(bins):
    """As torchdata's stateful loader does: each worker's state goes back to that worker."""
    whole = some(make(bins), 12)
    actual: list = [None] * 12
    for worker in range(3):
        first = make(bins)
        turns = first._turns(worker, 3)
        actual[worker], actual[worker + 3] = next(turns), next(turns)
        second = make(bins)
        second.load_state_dict(first.state_dict())
        turns = second._turns(worker, 3)
        actual[worker + 6], actual[worker + 9] = next(turns), next(turns)
    assert digest(actual, 12) == digest(whole, 12)


def test_batches_can_be_pickled(bins):
    batches = make(bins)
    some(batches, 3)
    copy = pickle.loads(pickle.dumps(batches))  # noqa: S301
    assert len(pickle.dumps(batches)) < 10_000
    assert digest(copy, 5) == digest(batches, 5)


def test_training_imports_numpy_and_pytorch_alone():
    code = "import sys, slm.batching; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"tiktoken", "pyarrow", "datasets", "yaml", "dvc", "triton"} & set(
        done.stdout.split()
    )


# --- on a GPU ---


@GPU
@pytest.mark.parametrize("order", ORDERS)
def test_a_graph_replays_the_next_batch(bins, order):
    batches = make(bins, order=order, device="cuda", placement="device", reuse=True, documents=True)
    batches.get_batch()  # what PyTorch must load before a capture
    batches.step = 0
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        x, y, documents = batches.get_batch()
    assert batches.step == 0
    wanted = make(bins, order=order, documents=True)
    for step in range(1, 20):
        graph.replay()
        want_x, want_y, want_documents = wanted.get_batch()
        assert torch.equal(x.cpu(), want_x)
        assert torch.equal(y.cpu(), want_y)
        for actual, want in zip(documents, want_documents, strict=True):
            assert torch.equal(actual.cpu(), want)
        assert batches.step == step
    wanted.load_state_dict(batches.state_dict())
    batches.step = 3
    graph.replay()
    assert batches.step == 4


@GPU
def test_fresh_tensors_cannot_be_captured(bins):
    batches = make(bins, device="cuda", placement="device")
    with pytest.raises(Exception, match="reuse=True"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        batches.get_batch()


def slow_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the device sleep about 10 ms before each copy of the ring."""
    copy = sys.modules["slm.batching.gpu.prefetch"]._copy

    def slowly(slot, stream) -> None:
        torch.cuda._sleep(20_000_000)
        copy(slot, stream)

    monkeypatch.setattr("slm.batching.gpu.prefetch._copy", slowly)


def wrong(bins: Path) -> int:
    """How many of 40 batches are not what they should be."""
    batches = make(bins, device="cuda", placement="host", batch_size=64, block_size=256)
    actual = [batches.get_batch() for _ in range(40)]  # the host far ahead of the device
    batches.close()
    wanted = some(make(bins, batch_size=64, block_size=256), 40)
    return sum(not torch.equal(x.cpu(), z[0]) for (x, _), z in zip(actual, wanted, strict=True))


@GPU
def test_the_ring_refills_no_buffer_that_is_still_copied(bins, monkeypatch):
    slow_copies(monkeypatch)
    assert wrong(bins) == 0
    monkeypatch.setattr("slm.batching.gpu.prefetch._until_copied", lambda slot: None)
    assert wrong(bins) > 0


@GPU
def test_the_rings_thread_ends_and_its_error_is_raised(bins, monkeypatch):
    import threading

    def running() -> bool:
        time.sleep(0.1)
        return any(thread.name == "slm.batching.prefetch" for thread in threading.enumerate())

    batches = make(bins, device="cuda", placement="host")
    batches.get_batch()
    assert running()
    batches.close()
    assert not running()
    batches.get_batch()
    del batches
    assert not running()
    monkeypatch.setattr("slm.batching.host.take", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        make(bins, device="cuda", placement="host").get_batch()


# --- at the door ---


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
@pytest.mark.parametrize("name", ["seed", "batch_size", "block_size", "world_size", "step"])
def test_any_integer_is_taken_and_the_state_holds_plain_ones(bins, name, number):
    batches = make(bins, **({} if name == "step" else {name: number}))
    plain = make(bins, **({} if name == "step" else {name: 3}))
    if name == "step":
        batches.step, plain.step = number, 3
    assert torch.equal(batches.get_batch()[0], plain.get_batch()[0])
    state = batches.state_dict()
    assert {type(value) for value in state.values()} == {int, str}
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.load(file) == json.loads(json.dumps(state)) == plain.state_dict()


@pytest.mark.parametrize("value", [7.0, "7", True, None, np.float32(7), 1j, np.bool_(True)])
@pytest.mark.parametrize("name", ["seed", "batch_size", "block_size", "rank", "world_size"])
def test_what_is_no_integer_is_refused_in_one_line(bins, name, value):
    with pytest.raises(ValueError, match=rf"{name} is .*; it must be an integer") as error:
        make(bins, **{name: value})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [1.5, "1", True])
def test_a_step_or_a_state_of_another_kind_is_refused(bins, value):
    batches = make(bins)
    with pytest.raises(ValueError, match=r"step is .*; it must be an integer"):
        batches.step = value
    with pytest.raises(ValueError, match=r"rows of the state is .*; it must be an integer"):
        batches.load_state_dict({**batches.state_dict(), "rows": value})
    assert batches.step == 0


@pytest.mark.parametrize("state", [None, [], "abc", 5, [("rows", 0)]])
def test_a_state_that_is_none_is_refused_in_one_line(bins, state):
    with pytest.raises(ValueError, match=r"the state is of .*; give what state_dict") as error:
        make(bins).load_state_dict(state)
    assert "\n" not in str(error.value)


def test_a_state_of_part_of_a_step_is_refused(bins):
    state = make(bins).state_dict()
    with pytest.raises(ValueError, match="rows of the state is 12; it must be a multiple of 8"):
        make(bins).load_state_dict({**state, "rows": 12})


@pytest.mark.parametrize("split", [["train"], None, 5])
def test_a_split_that_is_no_name_is_refused(bins, split):
    with pytest.raises(ValueError, match=r"split is .* has train, validation"):
        Batches(bins, split, batch_size=8, block_size=16, seed=1)


@pytest.mark.parametrize("none", [None, 5, ["data"]])
def test_what_is_no_bins_is_refused(none):
    with pytest.raises(ValueError, match="; give a folder, a URL, or what open_bins returned"):
        make(none)


def test_a_state_of_names_of_numpy_is_plain(bins, tmp_path):
    options = {"batch_size": 8, "block_size": 16, "seed": 1, "order": np.str_("random")}
    batches = Batches(bins, np.str_("train"), **options)
    torch.save(batches.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt") == batches.state_dict()


@pytest.mark.parametrize("device", ["gpu", "", 3.5, "tpu:0", 2**63])
def test_a_device_that_is_none_is_refused(bins, device):
    with pytest.raises(ValueError, match="device is "):
        make(bins, device=device)


def test_a_file_in_place_of_its_folder_is_refused(bins):
    with pytest.raises(ValueError, match="no bins here"):
        make(bins / "train.bin")


def test_a_compiled_step_has_the_batches_that_it_has_outside(bins):
    batches, outside, weight = make(bins, documents=True), make(bins), torch.ones(TOKENS)

    @torch.compile(backend="eager")
    def step() -> torch.Tensor:
        x, y, _ = batches.get_batch()
        return (weight[x] * x).sum() + y.sum()

    for x, y in some(outside, 4):
        assert float(step()) == float(x.float().sum() + y.sum())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("threads", [2, 8])
def test_threads_that_share_batches_take_each_once(bins, order, threads):
    steps = 240
    shared, alone = make(bins, order=order), make(bins, order=order)
    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(lambda _: shared.get_batch()[0][0, 0].item(), range(steps)))
    assert sorted(rows) == sorted(x[0, 0].item() for x, _ in some(alone, steps))
    assert shared.step == steps


# --- folders that move, or become others ---


def replaced(folder: Path) -> None:
    shutil.rmtree(folder)
    make_bins(folder, shift=5)


@pytest.mark.parametrize("anew", [
    lambda bins, batches: make(bins),
    lambda bins, batches: make(bins, verify=True),
    lambda bins, batches: make(bins, documents=True),
    lambda bins, batches: copy.deepcopy(batches),
    lambda bins, batches: pickle.loads(pickle.dumps(batches)),  # noqa: S301
    lambda bins, batches: bins.docs("train"),
])  # fmt: skip
def test_bins_that_were_replaced_are_not_taken_for_those_that_were_opened(tmp_path, anew):
    opened = open_bins(make_bins(tmp_path / "bins"))
    batches = make(opened)
    first = batches.get_batch()[0]
    replaced(tmp_path / "bins")
    with pytest.raises(ValueError, match="has other bins than when it was opened"):
        anew(opened, batches)
    batches.step = 0
    assert torch.equal(batches.get_batch()[0], first)  # what is mapped stays


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_the_working_folder_may_change(bins, tmp_path, monkeypatch, context):
    monkeypatch.chdir(bins.parent)
    batches, wanted = make(Path(bins.name)), digest(make(bins), 4)
    monkeypatch.chdir(tmp_path)
    if context is None:
        assert digest(copy.deepcopy(batches), 4) == wanted
    else:
        loader = DataLoader(batches, None, num_workers=2, multiprocessing_context=context)
        assert digest(loader, 4) == wanted


@pytest.mark.parametrize("workers", [1, 2])
def test_persistent_workers_that_would_skip_batches_are_refused(bins, workers):
    batches = make(bins)
    loader = DataLoader(batches, None, num_workers=workers, persistent_workers=True)
    assert len(some(loader, 5)) == 5
    batches.step = 5
    iterator = iter(loader)
    with pytest.raises(ValueError, match="persistent_workers=False"):
        next(iterator)
    iterator._shutdown_workers()  # or the next test would wait for them, 5 s each


def test_persistent_workers_go_through_all_of_sequential_again_and_again(tmp_path):
    batches = make(make_bins(tmp_path / "bins", tokens=1000), order="sequential")
    loader = DataLoader(batches, None, num_workers=2, persistent_workers=True)
    assert digest(loader, 9) == digest(loader, 9) == digest(batches, 9)


@pytest.mark.parametrize(("device", "placement"), PLACES)
def test_pytorch_s_default_device_changes_no_batch(bins, device, placement):
    options = {"device": device, "placement": placement, "documents": True}
    wanted = make(bins, **options).get_batch()
    torch.set_default_device("meta")
    try:
        x, y, documents = make(bins, **options).get_batch()
    finally:
        torch.set_default_device(None)
    assert torch.equal(x, wanted[0]) and torch.equal(y, wanted[1])
    assert torch.equal(documents.cu_seqlens, wanted[2].cu_seqlens)
