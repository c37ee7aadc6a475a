"""Mixtures: exact ratios, each source's rows in their own order, and the interface of Batches.

Token i of a source is i plus a shift of its own, so that x alone says which source it is of.
"""

import copy
import io
import json
import pickle
from ast import literal_eval
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from slm.batching import Batches, Mixture, digest, union
from slm.batching.device import Copied, OnDevice, to_device
from slm.batching.orders import mixing
from slm.batching.orders.mixing import MOST_WEIGHT, rows_of, sources, stages_of
from slm.bins.format import write_manifest
from slm.bins.opening import open_bins
from slm.core.counter import LARGEST
from slm.core.errors import UserError
from tests.batching.test_batching import make_bins
from tests.batching.test_sampling import slow_permuted, slow_word, surprise, uint64
from tests.helpers import one_line

ORDERS = ("random", "shuffled", "packed")
TOKENS = {"stories": 3000, "web": 5000, "code": 1400}
SHIFTS = {"stories": 0, "web": 20_000, "code": 40_000}
WEIGHTS = {"stories": 5, "web": 3, "code": 1}
STAGES = [
    (0, WEIGHTS),
    (7, {"stories": 0, "web": 2, "code": 3}),
    (8, {"stories": 70, "web": 20, "code": 7}),
]


@pytest.fixture(scope="module")
def bins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("mixture")
    return {n: make_bins(folder / n, tokens=t, shift=SHIFTS[n]) for n, t in TOKENS.items()}


def make(bins: dict, **options) -> Mixture:
    options = {"batch_size": 8, "block_size": 16, "seed": 1337, **options}
    if "stages" not in options:
        options = {"weights": {name: WEIGHTS.get(name, 1) for name in bins}, **options}
    return Mixture(bins, "train", **options)


def flat(batches, steps: int) -> list[torch.Tensor]:
    """All tensors of some steps."""
    return [
        tensor
        for items in islice(batches, steps)
        for item in items
        for tensor in (item if isinstance(item, tuple) else [item])
    ]


def same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


def told(batches: Mixture, steps: int) -> list[int]:
    """The source of each row of some steps."""
    return torch.cat([items[-1] for items in islice(batches, steps)]).tolist()


# --- which row ---


def slow_source(seed: int, number: int, weights: list[int], row: int) -> int:
    """The source of a row of stage `number`, counted from its first."""
    total = sum(weights)
    block, place = divmod(row, total)
    key = slow_word(slow_word(slow_word(seed, 4), number), block)
    u = slow_permuted(key, place, total)
    return next(s for s in range(len(weights)) if u < sum(weights[: s + 1]))


def slow_rows(seed: int, firsts: list[int], weights: list[list[int]], rows: int) -> list:
    """(source, row of that source) of the first rows: each source's rows are counted."""
    had, made = [0] * len(weights[0]), []
    for row in range(rows):
        stage = sum(first <= row for first in firsts) - 1
        source = slow_source(seed, stage, weights[stage], row - firsts[stage])
        made.append((source, had[source]))
        had[source] += 1
    return made


def drawn(stages: list, rows) -> list[tuple[int, int]]:
    source, own = sources(stages, uint64(rows))
    assert (source.dtype, own.dtype) == (np.int64, np.uint64)
    return list(zip(source.tolist(), own.tolist(), strict=True))


@st.composite
def mixtures(draw) -> tuple[list[int], list[list[int]]]:
    """Stages: their first rows and their weights."""
    many, stages = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    weight = st.integers(0, draw(st.sampled_from([1, 3, 40])))
    some = st.lists(weight, min_size=many, max_size=many).filter(any)
    lengths = draw(st.lists(st.integers(1, 90), min_size=stages - 1, max_size=stages - 1))
    return np.cumsum([0, *lengths]).tolist(), [draw(some) for _ in range(stages)]


@settings(max_examples=40, deadline=None)
@given(mixtures(), st.integers(0, 2**64 - 1), st.data())
def test_rows_follow_the_definition(mixture, seed, data):
    firsts, weights = mixture
    stages = stages_of(seed, firsts, weights)
    wanted = slow_rows(seed, firsts, weights, firsts[-1] + 100)
    assert drawn(stages, range(len(wanted))) == wanted
    some = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=9))  # in no order
    assert drawn(stages, some) == [wanted[row] for row in some]
    for rows in (0, *some, *firsts, len(wanted)):
        had = Counter(source for source, _ in wanted[:rows])
        assert rows_of(stages, rows).tolist() == [had[s] for s in range(len(weights[0]))]


def slow_row(seed: int, firsts: list[int], weights: list[list[int]], row: int) -> tuple:
    """The source of any row, and how many rows before it each source has had."""
    had = [0] * len(weights[0])
    for number, (first, each) in enumerate(zip(firsts, weights, strict=True)):
        if first <= row:
            end = min([row, *firsts[number + 1 :][:1]])
            blocks, rest = divmod(end - first, sum(each))
            had = [own + blocks * weight for own, weight in zip(had, each, strict=True)]
            for place in range(blocks * sum(each), blocks * sum(each) + rest):
                had[slow_source(seed, number, each, place)] += 1
            source = slow_source(seed, number, each, row - first)
    return source, had


FAR = 2**61 + 5


@pytest.mark.parametrize(("firsts", "row"), [
    ([0], 10**12), ([0], 2**53 + 1), ([0], LARGEST - 1), ([0, 3, FAR], FAR - 1), ([0, FAR], FAR),
    ([0, FAR], FAR + 1), ([0, FAR, FAR + 2], LARGEST - 1),
])  # fmt: skip
@pytest.mark.parametrize("weights", [[3, 1], [1], [0, 1, 0], [300, 5, 60, 1]])
def test_any_row_is_found_at_once(firsts, row, weights):
    every = [weights, weights[::-1], weights][: len(firsts)]
    stages = stages_of(7, firsts, every)
    source, had = slow_row(7, firsts, every, row)
    assert drawn(stages, [row]) == [(source, had[source])]
    assert rows_of(stages, row).tolist() == had


@pytest.mark.parametrize("weights", [[1], [1, 1], [3, 1], [0, 2, 0, 5], [40, 30, 20, 10], [997, 3]])
def test_each_block_has_the_exact_ratio(weights):
    total, many = sum(weights), 60
    source, _ = sources(stages_of(5, [0], [weights]), np.arange(many * total, dtype=np.uint64))
    for block in source.reshape(many, total):
        assert np.bincount(block, minlength=len(weights)).tolist() == weights


@pytest.mark.parametrize("weights", [[2, 2], [3, 1], [1, 1, 1]])
def test_blocks_have_every_order_equally_often(weights):
    total, many = sum(weights), 12_000
    source, _ = sources(stages_of(5, [0], [weights]), np.arange(many * total, dtype=np.uint64))
    seen = Counter(map(tuple, source.reshape(many, total).tolist()))
    assert len(seen) == {(2, 2): 6, (3, 1): 4, (1, 1, 1): 6}[tuple(weights)]
    assert abs(surprise(np.array([*seen.values()]))) < 5


def test_the_largest_weights_take_bounded_memory(monkeypatch):
    """Blocks are looked at some at a time, and rows in several of them are the same."""
    weights = [MOST_WEIGHT - 10, 10]
    stages = stages_of(3, [0, 12_345, 70_001], [weights, [1, 2], weights])
    rows = np.arange(0, 200_000, 37, dtype=np.uint64)
    looked, whole = [], mixing._some_places
    monkeypatch.setattr(mixing, "_some_places", lambda stage, blocks: (
        looked.append(len(blocks) * int(stage.ends[-1])), whole(stage, blocks))[1])  # fmt: skip
    found = drawn(stages, rows)
    assert max(looked) <= mixing.TOGETHER
    assert found[5:9] == drawn(stages, rows[5:9])
    assert found[-9:] == drawn(stages, rows[-9:])


# --- what stands in a batch ---


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("about", [{}, {"stages": STAGES}])
def test_rows_are_those_of_each_source_alone_in_its_own_order(bins, order, about):
    mixture = make(bins, order=order, documents=True, sources=True, **about)
    rows: dict[int, list] = {i: [] for i in range(len(bins))}
    at = 0
    for x, y, documents, of in islice(mixture, 40):
        assert of.dtype == torch.int64
        assert of.shape == (8,)
        for i in range(8):
            name, own = mixture.source_of(at)
            assert (list(bins)[of[i]], len(rows[int(of[i])])) == (name, own)
            parts = documents.cu_seqlens.tolist()
            borders = {end - i * 16 for end in parts if i * 16 <= end <= i * 16 + 16}
            rows[int(of[i])].append((x[i], y[i], documents.ids[i], documents.positions[i], borders))
            at += 1
    for i, path in enumerate(bins.values()):
        alone = Batches(path, "train", batch_size=1, block_size=16, seed=1337, order=order,
                        documents=True)  # fmt: skip
        for own, (x, y, documents) in zip(rows[i], alone, strict=False):
            assert same(own[:4], [x[0], y[0], documents.ids[0], documents.positions[0]])
            assert own[4] == set(documents.cu_seqlens.tolist())
    assert min(map(len, rows.values())) > 20


def test_a_stage_begins_at_its_step_and_no_batch_straddles_it(bins):
    got = np.array(told(make(bins, stages=STAGES, sources=True), 8 + 2 * 97)).reshape(-1, 8)
    assert {0, 1, 2} == set(got[:7].ravel())
    assert set(got[7]) == {1, 2}  # the stage of one step
    first = got[:7].ravel()
    for block in range(len(first) // 9):
        assert np.bincount(first[9 * block : 9 * block + 9]).tolist() == [5, 3, 1]
    last = got[8:].ravel()
    for block in range(len(last) // 97):
        assert np.bincount(last[97 * block : 97 * block + 97]).tolist() == [70, 20, 7]


@pytest.mark.parametrize("order", ORDERS)
def test_a_source_alone_is_its_batches(bins, order):
    alone = Batches(bins["web"], "train", batch_size=8, block_size=16, seed=1337, order=order)
    mixed = make({"web": bins["web"]}, weights={"web": 1}, order=order, sources=True)
    for (x, y), (mixed_x, mixed_y, of) in islice(zip(alone, mixed, strict=False), 70):
        assert same([x, y], [mixed_x, mixed_y])
        assert of.tolist() == [0] * 8
    others = make(bins, weights={"stories": 0, "web": 1, "code": 0}, order=order)
    alone.step = others.step = 5
    assert same(flat(alone, 5), flat(others, 5))


def test_opened_bins_and_paths_are_the_same(bins):
    opened = {name: open_bins(path) for name, path in bins.items()}
    texts = {name: str(path) for name, path in bins.items()}
    assert digest(make(opened), 5) == digest(make(texts), 5) == digest(make(bins), 5)


def test_ids_above_uint16_are_not_cut(tmp_path):
    wide = {
        name: make_bins(tmp_path / name, tokens=500, vocab_size=2**18, shift=shift)
        for name, shift in (("one", 2**16), ("two", 2**17))
    }
    for placement in ("host", "device"):
        x, y = make(wide, placement=placement).get_batch()
        assert torch.equal(y, x + 1)
        assert x.min() >= 2**16
        assert x.max() >= 2**17


# --- one digest ---


@pytest.mark.parametrize("order", ORDERS)
def test_the_digest_is_that_of_any_number_of_ranks_and_placement(bins, order):
    found, told_ = set(), set()
    for ranks in (1, 2, 4, 8):
        for placement in ("host", "device"):
            options = {"order": order, "placement": placement, "stages": STAGES}
            options |= {"batch_size": 16 // ranks, "world_size": ranks, "sources": True}
            parts = [make(bins, rank=rank, **options) for rank in range(ranks)]
            found.add(digest(union(parts), 20))
            steps = [torch.cat([part.get_batch()[-1] for part in parts]) for _ in range(5)]
            told_.add(tuple(torch.cat(steps).tolist()))
    assert len(found) == len(told_) == 1


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("reuse", [False, True])
def test_plain_pytorch_on_a_device_gives_the_same(bins, order, reuse):
    options = {"order": order, "documents": True, "sources": True, "stages": STAGES}
    wanted = make(bins, **options)
    rows = make(bins, **options)._rows
    made = OnDevice(to_device(rows, torch.device("cpu"), chunk=999), rows, reuse)
    copied = Copied(copy.copy(rows), reuse, torch.device("cpu"))
    for step in (0, 1, 6, 7, 8, 9, 3, 2**40):
        wanted.step = made.step = copied.step = step
        batch = flat([wanted.get_batch()], 1)
        assert same(flat([made.batch().items()], 1), batch)
        assert same(flat([copied.batch().items()], 1), batch)


@pytest.mark.parametrize("order", ORDERS)
def test_any_step_is_drawn_at_once(bins, order):
    options = {"order": order, "documents": True, "sources": True, "stages": STAGES}
    steps = [list(items) for items in islice(make(bins, **options), 20)]
    jumping = make(bins, **options)
    for step in (19, 0, 7, 8, 6, 13):
        jumping.step = step
        assert same(flat([jumping.get_batch()], 1), flat([steps[step]], 1))
    jumping.step = 2**55
    assert jumping.get_batch()[0].shape == (8, 16)


# --- resumes ---


@pytest.mark.parametrize("order", ORDERS)
def test_two_resumes_go_on_with_the_next_batch(bins, order):
    """Through JSON; the second with four ranks instead of one."""
    options = {"order": order, "stages": STAGES}
    whole = digest(make(bins, batch_size=16, **options), 30)
    first = make(bins, batch_size=16, **options)
    parts = list(islice(first, 7))
    second = make(bins, batch_size=16, **options)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    parts += islice(second, 9)
    state = json.loads(json.dumps(second.state_dict()))
    ranks = [make(bins, batch_size=4, rank=r, world_size=4, **options) for r in range(4)]
    for rank in ranks:
        rank.load_state_dict(state)
    assert digest(chain(parts, union(ranks)), 30) == whole


def at(bins: dict, step: int, **options) -> dict:
    """The state before a step."""
    mixture = make(bins, **options)
    mixture.step = step
    return json.loads(json.dumps(mixture.state_dict()))


OTHER = {"stories": 1, "web": 1, "code": 1}


@pytest.mark.parametrize(("stages", "step"), [
    ([(0, OTHER)], 0),  # nothing has begun
    ([*STAGES[:2], (8, OTHER)], 8),  # begins with the next step
    ([*STAGES[:2], (12, OTHER)], 8),  # later
    (STAGES[:2], 8),  # never
    ([*STAGES, (20, OTHER)], 20),  # one more
    ([*STAGES, (15, OTHER), (20, WEIGHTS)], 9),
])  # fmt: skip
def test_stages_that_have_not_begun_may_be_others(bins, stages, step):
    """Each source goes on where it was: none of its rows is lost or comes twice."""
    before, after = make(bins, stages=STAGES, sources=True), make(bins, stages=stages, sources=True)
    got = told(before, step) if step else []
    state = json.loads(json.dumps(before.state_dict()))
    after.load_state_dict(state)
    assert after.step == step
    rest = told(after, 30 - step)
    whole = make(bins, stages=stages, sources=True)
    assert got + rest == told(whole, 30)
    assert digest(make(bins, stages=STAGES), step) == digest(make(bins, stages=stages), step)
    had = Counter[int]()
    for row, source in enumerate(got + rest):
        assert whole.source_of(row) == (list(bins)[source], had[source])
        had[source] += 1
    assert after.state_dict()["stages"] == [[step, list(w.values())] for step, w in stages]


@pytest.mark.parametrize(("stages", "step"), [
    ([*STAGES[:2], (8, OTHER)], 9),
    ([*STAGES[:2], (9, STAGES[2][1])], 9),
    (STAGES[:2], 9),
    ([(0, OTHER), *STAGES[1:]], 1),
    ([*STAGES, (20, OTHER)], 21),
    ([(0, WEIGHTS)], 8),
])  # fmt: skip
def test_stages_that_have_begun_cannot_be_others(bins, stages, step):
    mixture = make(bins, stages=stages)
    with pytest.raises(UserError) as error:
        mixture.load_state_dict(at(bins, step, stages=STAGES))
    said = one_line(error)
    assert f"before step {step}" in said and "a stage that has begun cannot change" in said
    assert mixture.step == 0


def test_weights_are_a_stage_from_step_0(bins):
    one, other = make(bins), make(bins, stages=[(0, WEIGHTS)])
    other.load_state_dict(at(bins, 3))
    one.step = 3
    assert digest(one, 5) == digest(other, 5)
    with pytest.raises(UserError, match="has begun"):
        make(bins, weights=OTHER).load_state_dict(at(bins, 3))


def test_a_state_of_other_data_or_another_order_of_sources_is_refused(bins, tmp_path):
    state = at(bins, 3)
    others = {**bins, "web": make_bins(tmp_path / "web", tokens=5000, shift=1)}
    for other in (others, dict(reversed(bins.items()))):
        for step in (0, 3):
            with pytest.raises(UserError) as error:
                make(other).load_state_dict({**state, "rows": 8 * step})
            said = one_line(error)
            assert "the state has data [['stories'" in said and "these batches have [['" in said


@pytest.mark.parametrize(("key", "value"), [
    ("seed", 1), ("order", "random"), ("block_size", 15), ("batch_size", 9),
])  # fmt: skip
def test_a_state_of_something_else_is_refused_with_both_values(bins, key, value):
    """That is said first, also where the stages differ."""
    here = {"seed": 1337, "order": "shuffled", "block_size": 16, "batch_size": 8}[key]
    with pytest.raises(UserError) as error:
        make(bins, stages=STAGES).load_state_dict(at(bins, 30, **{key: value}))
    name = "global_batch" if key == "batch_size" else key
    assert f"has {name} {value!r} and these batches have {here!r}" in one_line(error)


@pytest.mark.parametrize("step", [0, 3])
def test_batches_and_mixtures_refuse_each_other_s_states(bins, step):
    one = {"web": bins["web"]}
    options = {"batch_size": 8, "block_size": 16, "seed": 1337}
    alone = Batches(bins["web"], "train", **options)
    alone.step = step
    mixed = make(one, weights={"web": 1})
    mixed.step = step
    for batches, state in ((alone, mixed.state_dict()), (mixed, alone.state_dict())):
        with pytest.raises(UserError, match="the state has data ") as error:
            batches.load_state_dict(state)
        one_line(error)


@pytest.mark.parametrize("changes", [
    {"rows": -1}, {"rows": "8"}, {"rows": None}, {"stages": None}, {"stages": 5}, {"sampling": 1},
    {"rows": 12},
])  # fmt: skip
def test_a_damaged_state_is_refused_in_one_line(bins, changes):
    with pytest.raises(UserError) as error:
        make(bins).load_state_dict({**at(bins, 3), **changes})
    one_line(error)
    for state in ({}, None, [], "abc"):
        with pytest.raises(UserError) as error:
            make(bins).load_state_dict(state)
        one_line(error)


def test_the_state_is_small_and_plain(bins):
    weights = {name: np.int64(weight) for name, weight in WEIGHTS.items()}
    mixture = make(bins, seed=np.uint64(2**64 - 1), stages=[(np.int32(0), weights), (9, OTHER)])
    mixture.step = 2**50
    state = mixture.state_dict()
    assert len(json.dumps(state)) < 600
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    assert torch.load(file, weights_only=True) == json.loads(json.dumps(state)) == state
    assert state["rows"] == 2**53
    assert state["stages"] == [[0, [5, 3, 1]], [9, [1, 1, 1]]]
    assert [name for name, _ in state["data"]] == list(bins)


# --- in other people's loops ---


def test_a_mixture_can_be_pickled_and_copied(bins):
    weights = dict(WEIGHTS)
    mixture = make(bins, weights=weights, sources=True, documents=True, steps=9)
    weights["web"] = 100  # what the caller does with it afterwards is of no matter
    mixture.step = 3
    for other in (pickle.loads(pickle.dumps(mixture)), copy.deepcopy(mixture)):  # noqa: S301
        mixture.step = 3
        assert len(other) == 9
        assert other.state_dict() == mixture.state_dict()
        assert same(flat(other, 99), flat(mixture, 99))
    assert len(pickle.dumps(mixture)) < 10_000


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_dataloader_gives_the_same_batches_in_the_same_order(bins, workers):
    mixture = make(bins, stages=STAGES, sources=True, steps=12)
    loader = DataLoader(mixture, batch_size=None, num_workers=workers)
    assert len(loader) == 12
    assert same(flat(loader, 99), flat(make(bins, stages=STAGES, sources=True), 12))


def test_threads_that_share_a_mixture_take_each_batch_once(bins):
    shared, alone = make(bins), make(bins)
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: tuple(shared.get_batch()[0][:, 0].tolist()), range(60)))
    assert sorted(got) == sorted(tuple(x[:, 0].tolist()) for x, _ in islice(alone, 60))


def test_a_compiled_step_has_the_batches_that_it_has_outside(bins):
    mixture, outside = make(bins, max_epochs={"code": 1}), make(bins)
    last = first_passing(bins, {"code": 1})

    @torch.compile(backend="eager")
    def step() -> torch.Tensor:
        x, y = mixture.get_batch()
        return x.sum() + y.sum()

    assert [int(step()) for _ in range(last)] == [
        int((x + y).sum()) for x, y in islice(outside, last)
    ]
    with pytest.raises(UserError, match="max_epochs"):
        step()


def test_steps_are_an_end_and_a_length_and_no_part_of_the_state(bins):
    mixture = make(bins, steps=7)
    mixture.step = 2
    assert len(mixture) == 7
    assert digest(mixture, 99) == digest(islice(make(bins), 2, 7), 99)
    with pytest.raises(StopIteration):
        mixture.get_batch()
    assert mixture.state_dict() == at(bins, 7)
    assert len(list(mixture)) == 7  # begins again
    with pytest.raises(TypeError, match="no end"):
        len(make(bins))


# --- how often at most ---


def first_passing(bins: dict, caps: dict, **options) -> int:
    """The first step after which a source would have had more than its cap, counted row by row."""
    mixture = make(bins, **options)
    blocks = dict(zip(bins, (split.plan.blocks for split in mixture._rows.splits), strict=True))
    had = Counter[str]()
    source, _ = sources(mixture._stages, np.arange(50_000, dtype=np.uint64))
    for row, name in enumerate(list(bins)[i] for i in source):
        had[name] += 1
        if name in caps and had[name] > caps[name] * blocks[name]:
            return row // mixture._rows.per_step
    raise AssertionError("never")


@pytest.mark.parametrize(("caps", "options"), [
    ({"code": 2}, {}),
    ({"code": 2, "stories": 0.5}, {"batch_size": 5}),
    ({"web": 0.25, "code": 9}, {"batch_size": 2, "rank": 3, "world_size": 4}),
    ({"stories": 0.4}, {"stages": STAGES}),
    ({"web": np.float32(0.1)}, {"stages": STAGES, "order": "packed"}),
    ({"stories": 1}, {"stages": STAGES, "batch_size": 3, "world_size": 2, "order": "random"}),
])  # fmt: skip
def test_a_cap_is_held_to_the_step(bins, caps, options):
    last = first_passing(bins, caps, **options)
    assert last > 3
    mixture = make(bins, max_epochs=caps, **options)
    mixture.step = last - 3
    got = []
    with pytest.raises(UserError) as error:
        got += [x for x, *_ in mixture]  # type: ignore[misc]
    assert f"step {last} passes max_epochs of " in one_line(error)
    assert mixture.step == last
    mixture.step = last + 5
    with pytest.raises(UserError, match=f"step {last + 5} passes .* end before step {last}, or"):
        mixture.get_batch()
    assert len(make(bins, max_epochs=caps, steps=last, **options)) == last
    with pytest.raises(UserError) as error:
        make(bins, max_epochs=caps, steps=last + 1, **options)
    said = one_line(error)
    assert f"steps is {last + 1}; it is passed in step {last}: give at most {last} steps" in said


def test_a_cap_is_used_up_to_less_than_a_step_s_rows(bins):
    weights = {"stories": 1, "web": 1, "code": 2}
    mixture = make(bins, weights=weights, max_epochs={"code": 2}, sources=True)
    seen = Counter[int]()
    with pytest.raises(UserError):
        for x, _, of in mixture:
            seen.update(x[of == 2][:, 0].tolist())
    rows = mixture._rows.splits[2].plan.blocks
    assert 2 * rows - 8 <= sum(seen.values()) <= 2 * rows


def test_a_source_that_never_comes_meets_no_cap(bins):
    weights = {"stories": 1, "web": 1, "code": 0}
    assert len(make(bins, weights=weights, max_epochs={"code": 1}, steps=10**12)) == 10**12
    mixture = make(bins, weights=weights, max_epochs={"code": 1})
    mixture.step = 10**12
    mixture.get_batch()


def test_threads_pass_no_cap(bins):
    last, mixture = first_passing(bins, {"code": 1}), make(bins, max_epochs={"code": 1})

    def draw(_: int) -> bool:
        try:
            mixture.get_batch()
        except UserError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(draw, range(last + 40))) == last
    assert mixture.step == last


@pytest.mark.parametrize(("caps", "says"), [
    ({"books": 1}, "max_epochs has books; bins has stories, web, code"),
    ({"web": 0}, "max_epochs of web is 0; it must be a number above 0"),
    ({"web": -1}, "max_epochs of web is -1; it must be a number above 0"),
    ({"web": float("nan")}, "max_epochs of web is nan; it must be a number above 0"),
    ({"web": float("inf")}, "max_epochs of web is inf; it must be a number above 0"),
    ({"web": "4"}, "max_epochs of web is '4'; it must be a number above 0"),
    ({"web": True}, "max_epochs of web is True; it must be a number above 0"),
    ({"web": None}, "max_epochs of web is None; it must be a number above 0"),
    (4, "max_epochs is 4; it must be a number for some of the sources, by name"),
    ({"web": 0.001}, "max_epochs of web is 0.001, and the first step has more of it; raise it, or"),
])  # fmt: skip
def test_a_cap_that_cannot_be_is_refused(bins, caps, says):
    with pytest.raises(UserError) as error:
        make(bins, max_epochs=caps)
    assert says in one_line(error)


# --- refusals ---


@pytest.mark.parametrize(("options", "says"), [
    ({"weights": None}, "weights is None, stages is None; give weights={…} or stages="),
    ({"weights": WEIGHTS, "stages": STAGES}, "; give weights={…} or stages="),
    ({"weights": [5, 3, 1]}, "weights is [5, 3, 1], stages is None; give weights={…}"),
    ({"weights": {"stories": 1, "web": 1}}, "weights has no code; a source to leave out has "),
    ({"weights": {**WEIGHTS, "books": 1}}, "weights has books; bins has stories, web, code"),
    ({"weights": {**WEIGHTS, "web": -1}}, "integers from 0 on with a sum in 1 … 10000"),
    ({"weights": dict.fromkeys(WEIGHTS, 0)}, "'code': 0}; they must be integers from 0 on"),
    ({"weights": {**WEIGHTS, "web": "many"}}, "'many', 'code': 1}; they must be integers"),
    ({"weights": {**WEIGHTS, "web": None}}, "they must be integers"),
    ({"weights": {**WEIGHTS, "web": float("nan")}}, "they must be integers"),
    ({"weights": {**WEIGHTS, "web": float("inf")}}, "they must be integers"),
    ({"stages": []}, "stages begin at steps []; they must ascend from 0"),
    ({"stages": [(5, WEIGHTS)]}, "stages begin at steps [5]; they must ascend from 0"),
    ({"stages": [(0, WEIGHTS), (9, WEIGHTS), (9, OTHER)]}, "steps [0, 9, 9]; they must ascend"),
    ({"stages": [(0, WEIGHTS), (9, OTHER), (5, OTHER)]}, "steps [0, 9, 5]; they must ascend"),
    ({"stages": [(0, WEIGHTS), (-1, OTHER)]}, "step of a stage is -1; it must be an integer, at "),
    ({"stages": [(0, WEIGHTS), (1.5, OTHER)]}, "step of a stage is 1.5; it must be an integer"),
    ({"stages": [(0, WEIGHTS), (2**63, OTHER)]}, f"step is {2**63}; rows are counted up to 2^62"),
    ({"stages": [(0, WEIGHTS), (9, {"web": 1})]}, "weights has no stories, code; a source to "),
    ({"stages": {0: WEIGHTS}}, "; give weights={…} or stages=[(0, {…}), (step, {…})]"),
    ({"stages": [0, WEIGHTS]}, "; give weights={…} or stages=[(0, {…}), (step, {…})]"),
    ({"stages": [(0, WEIGHTS, 1)]}, "; give weights={…} or stages=[(0, {…}), (step, {…})]"),
    ({"order": "sequential"}, "order is 'sequential', and a mixture has no end: read each source "),
    ({"order": "sorted"}, "order is 'sorted'; it must be one of"),
    ({"block_size": 1400}, "code: a row of 1400 needs 1401 tokens and the data has 1400; choose"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"steps": 0}, "steps is 0; it must be an integer, at least 1"),
    ({"steps": 2**61}, "rows are counted up to 2^62 and this makes"),
    ({"rank": 2, "world_size": 2}, "rank is 2"),
    ({"batch_size": 2**31 // 16}, "a batch of 2,147,483,648 tokens is too large"),
    ({"placement": "disk"}, "'disk'; it must be one of auto, host, device"),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(bins, options, says):
    with pytest.raises(UserError) as error:
        make(bins, **options)
    assert says in one_line(error)


@pytest.mark.parametrize(("given", "shown"), [
    ([], "[]"), ({}, "[]"), ("data/bins", "str"), ({5: "data/bins"}, "[5]"), (["a"], "list"),
    ({"a\nb": "data/bins"}, r"['a\nb']"), ({"": "data/bins"}, "['']"),
])  # fmt: skip
def test_bins_without_names_are_refused(given, shown):
    shown = "list" if given == [] else shown
    with pytest.raises(UserError) as error:
        Mixture(given, "train", batch_size=1, block_size=1, seed=1, weights={"a": 1})
    assert f'bins is {shown}; give folders by name, as {{"stories": ' in one_line(error)


@pytest.mark.parametrize(("given", "nearest"), [
    ([0.7, 0.2, 0.1], [7, 2, 1]),
    ([0.5, 0.25, 0.25], [2, 1, 1]),
    ([2.0, 1.0, 1.0], [2, 1, 1]),
    ([0.333, 0.333, 0.333], [1, 1, 1]),
    ([70.5, 20, 9.5], [141, 40, 19]),
    ([0.999, 0.001, 0], [999, 1, 0]),
    ([1, 1e-4, 0.0], None),
    ([1, 1e-9, 1e-9], None),
    ([0.1234567, 0.2345678, 0.6419755], None),
    ([np.float32(0.7), np.float64(0.3), np.int64(0)], [7, 3, 0]),
    (["0.75", 0.25, 0], [3, 1, 0]),
    ([True, True, False], [1, 1, 0]),
    ([472_000_000, 118_000_000, 0], [4, 1, 0]),
    ([2**62, 2**62, 1], None),
    ([MOST_WEIGHT, 1, 0], None),
])  # fmt: skip
def test_the_nearest_integers_are_named_and_can_be_pasted(bins, given, nearest):
    with pytest.raises(UserError) as error:
        make(bins, weights=dict(zip(bins, given, strict=True)))
    _, found, pasted = one_line(error).partition("; the nearest are ")
    assert found
    weights = literal_eval(pasted)
    make(bins, weights=weights).get_batch()
    assert nearest in (None, [*weights.values()])
    parts = np.array([float(value) for value in given])
    shares = np.array([*weights.values()]) / sum(weights.values())
    assert abs(shares - parts / parts.sum()).max() < 2e-3
    assert ((shares > 0) == (parts > 0)).all()  # what is little is not left out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8).filter(any))
def test_the_nearest_integers_are_always_weights(values):
    from slm.batching.orders.weights import _nearest, read_stages

    names = [f"source {i}" for i in range(len(values))]
    near = _nearest(names, values)
    assert near.startswith("; the nearest are {")
    [(_, found)] = read_stages(names, literal_eval(near.partition(" are ")[2]), None)
    shares = np.array(values) / sum(values)
    assert abs(np.array(found) / sum(found) - shares).max() < 0.005 * len(values)


def test_any_integers_are_weights(bins):
    weights = {"stories": np.uint8(5), "web": np.array(3), "code": torch.tensor(1)}
    assert digest(make(bins, weights=weights), 3) == digest(make(bins), 3)


def described(folder: Path, name: str, **tokenizer) -> Path:
    """Bins whose manifest tells their tokenizer."""
    made = make_bins(folder / name, tokens=300)
    manifest = dict(open_bins(made).manifest)
    manifest["tokenizer"] = {"encoding": "gpt2", "vocab_size": 2**16, **tokenizer}
    write_manifest(made, {key: manifest[key] for key in ("dtype", "splits", "tokenizer")})
    return made


def test_bins_of_other_vocabularies_are_refused(bins, tmp_path):
    a, b = described(tmp_path, "a"), described(tmp_path, "b", license="free")
    make({"a": a, "b": b})
    c = described(tmp_path, "c", encoding="bpe-60000-1234", vocab_size=60_000)
    d = make_bins(tmp_path / "d", tokens=300, vocab_size=2**17)
    for one, other, says in (
        (a, c, "b has another vocabulary (bpe-60000-1234, 60000 ids, uint16) than a (gpt2, 65536 "),
        (bins["web"], d, "uint32) than a ("),
        (a, bins["web"], "build both with the same `tokenizer` in params.yaml"),
    ):
        with pytest.raises(UserError) as error:
            make({"a": one, "b": other})
        assert says in one_line(error)


def test_a_source_that_is_none_is_refused(bins):
    with pytest.raises(
        UserError, match="give a folder, a URL, or what open_bins returned"
    ) as error:
        make({**bins, "web": None})
    one_line(error)


def test_empty_and_missing_bins_are_named(bins, tmp_path):
    empty = make_bins(tmp_path / "empty", tokens=0)
    for order in ORDERS:
        with pytest.raises(UserError) as error:
            make({"web": bins["web"], "none": empty}, order=order)
        said = one_line(error)
        assert said.startswith("none: ") and "the data has 0; choose" in said
    with pytest.raises(UserError) as error:
        make({"web": bins["web"], "none": tmp_path / "gone"})
    assert "gone" in one_line(error)
    with pytest.raises(UserError) as error:
        Mixture(bins, "test", batch_size=1, block_size=1, seed=1, weights=WEIGHTS)
    assert "split is 'test'" in one_line(error)


def test_a_source_shorter_than_a_row_can_be_packed(bins):
    mixture = make(bins, block_size=2000, order="packed", sources=True)
    for x, y, of in islice(mixture, 10):
        assert ((x[of == 2] >= SHIFTS["code"]) | (y[of == 2] == -100)).all()


# --- what it says it is ---


def test_the_repr_is_one_line(bins):
    mixture = make(bins, steps=9, rank=1, world_size=2)
    mixture.step = 3
    assert repr(mixture) == (
        "Mixture('train' of stories + web + code, shuffled, 8 x 16, seed 1337, rank 1 of 2, "
        "on cpu (host), step 3 of 9)"
    )


def test_a_mixture_prints_as_a_table(bins):
    assert str(make(bins, steps=100)) == (
        "source   weight  tokens  rows per epoch  epochs in 100 steps\n"
        "stories       5   3,000             186                 2.39\n"
        "web           3   5,000             311                 0.86\n"
        "code          1   1,400              86                 1.03"
    )


def test_a_table_without_an_end_is_of_1000_steps_of_the_last_stage(bins):
    stages = [(0, WEIGHTS), (2000, {"stories": 0, "web": 1, "code": 0})]
    lines = str(make(bins, stages=stages)).splitlines()
    assert "  weight from step 0, 2000  tokens  " in lines[0]
    assert lines[0].endswith("epochs in 3,000 steps")
    assert [line.split()[1:3] for line in lines[1:]] == [["5,", "0"], ["3,", "1"], ["1,", "0"]]
    seen = [float(line.split()[-1]) for line in lines[1:]]
    assert seen == [pytest.approx(rows / blocks, abs=0.06) for rows, blocks in (
        (16_000 * 5 / 9, 186), (16_000 / 3 + 8000, 311), (16_000 / 9, 86))]  # fmt: skip
    assert str(make(bins)).splitlines()[0].endswith("epochs in 1,000 steps")


def test_content_of_every_source_is_verified_on_request(tmp_path):
    folders = {name: make_bins(tmp_path / name) for name in ("one", "two")}
    options = {"weights": {"one": 1, "two": 1}, "batch_size": 2, "block_size": 8, "seed": 1}
    Mixture(folders, "train", **options, verify=True)
    with (folders["two"] / "train.bin").open("r+b") as file:
        file.write(b"\xff")
    with pytest.raises(UserError, match=r"train\.bin differs in chunk 0"):
        Mixture(folders, "train", **options, verify=True)
