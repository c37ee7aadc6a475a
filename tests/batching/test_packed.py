"""Order "packed": rows of whole documents, every token once, and a target in the same document.

Token i is i, so that x alone says which token stands where.
"""

import json
from itertools import chain, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from slm.batching import Batches, digest, union
from slm.batching.coverage import coverage, seen
from slm.batching.orders.packing import LEAST_GAP, packing
from slm.batching.sampling import length, plan
from slm.batching.tensors import NO_TARGET
from slm.bins.format import write_docs, write_manifest
from slm.core.errors import UserError
from slm.core.ids import write_ids
from tests.batching.test_sampling import slow_permuted, slow_word
from tests.helpers import one_line

EPOCHS = 2
GOLDEN = [139, 1595, 4689, 3735]  # first tokens of the first rows
pytestmark = pytest.mark.filterwarnings("ignore:order 'packed'")  # where all documents are cut


def bins_of(folder: Path, lengths: list[int], end_of_text: str = "none") -> Path:
    """Bins of documents with these lengths, whose token i is i."""
    folder.mkdir()
    edges = np.cumsum([0, *lengths])
    files = {
        "train.bin": write_ids(folder / "train.bin", [np.arange(edges[-1])], np.dtype("<u4")),
        "train.docs.npy": write_docs(
            folder / "train.docs.npy", [np.stack([edges, edges], 1)], len(edges) - 1
        ),
    }
    splits = {"train": {"tokens": int(edges[-1]), "files": files}}
    content = {"dtype": "uint32", "end_of_text": end_of_text, "splits": splits}
    write_manifest(folder, content)
    return folder


def packed(bins: Path, batch: int, block: int, **options) -> Batches:
    options = {"seed": 7, "documents": True, **options}
    return Batches(bins, "train", batch_size=batch, block_size=block, order="packed", **options)


def check_epochs(bins: Path, lengths: list[int], block: int, follows: bool) -> None:
    """Every property that the order promises, over EPOCHS epochs of rows."""
    edges = np.cumsum([0, *lengths])
    of_token = np.repeat(np.arange(len(lengths)), lengths)
    batches = packed(bins, 1, block)
    rows = batches._rows.splits[0].plan.blocks
    for _ in range(EPOCHS):
        had: list[int] = []
        for x, y, documents in islice(batches, rows):
            check_row(x[0], y[0], documents, edges, of_token, follows)
            had += x[0][documents.ids[0] >= 0].tolist()
        assert sorted(had) == list(range(edges[-1]))  # none is lost, none is seen twice


def check_row(x, y, documents, edges, of_token, follows) -> None:
    x, y, ids, positions = (t.numpy() for t in (x, y, documents.ids[0], documents.positions[0]))
    size, lengths, tokens = len(x), np.diff(edges), int(edges[-1])
    used = int((ids >= 0).sum())
    assert (ids[:used] >= 0).all()  # padding is at the end
    assert not x[used:].any()
    assert (y[used:] == NO_TARGET).all()
    assert (ids[:used] == of_token[x[:used]]).all()
    borders = documents.cu_seqlens.numpy()
    assert borders.dtype == np.int32
    assert borders[0] == 0
    assert borders[-1] == size
    borders = np.unique(borders)
    for begin, end in pairwise(borders):
        assert positions[begin:end].tolist() == list(range(end - begin))
        if begin >= used:
            assert (begin, end) == (used, size)  # all padding is one piece
            continue
        document = ids[begin]
        assert (x[begin:end] == np.arange(x[begin], x[begin] + end - begin)).all()
        if lengths[document] <= size:
            assert end - begin == lengths[document]  # whole
        wanted = x[begin:end] + 1
        inside = wanted < edges[document + 1] + (follows and edges[document + 1] < tokens)
        assert (y[begin:end] == np.where(inside, wanted, NO_TARGET)).all()
    assert x[0] == edges[ids[0]] or lengths[ids[0]] > size  # begins a document


def corpus(kind: int, block: int, rng: np.random.Generator) -> list[int]:
    """Lengths of documents: short ones, long ones, edge cases, a single one, very short ones."""
    many = int(rng.integers(1, 40))
    lengths = [
        rng.integers(0, block + 2, many),
        rng.integers(0, 3 * block + 2, many),
        rng.choice([0, 1, block, block + 1, 10 * block], min(many, 12)),
        rng.integers(1, 12 * block, 1),
        rng.geometric(2 / (block + 2), many),
    ][kind]
    return [*lengths.tolist(), 1 if not sum(lengths) else 0]


@pytest.mark.parametrize("part", range(10))
def test_all_that_packed_promises_holds_for_200_random_corpora(tmp_path, part):
    """20 corpora each; rows of up to 300 tokens, every fourth of few."""
    rng = np.random.default_rng(part)
    for number in range(20):
        block = int(rng.integers(1, 301)) if number % 4 else 1 + (part * 5 + number) // 4
        end_of_text = ("none", "append", "prepend")[number % 3]
        lengths = corpus(number % 5, block, rng)
        lengths = [max(1, n) for n in lengths] if end_of_text != "none" else lengths
        bins = bins_of(tmp_path / str(number), lengths, end_of_text)
        check_epochs(bins, lengths, block, end_of_text == "prepend")


@pytest.mark.parametrize("end_of_text", ["none", "append", "prepend"])
def test_each_block_size_up_to_300_packs_the_same_documents(tmp_path, end_of_text):
    lengths = [1, 2, 3, 300, 301, 150, 37, 90, 700, 1, 16, 17, 15, 222, 5]
    bins = bins_of(tmp_path / "bins", lengths, end_of_text)
    for block in range(1, 301, 1 if end_of_text == "prepend" else 7):
        check_epochs(bins, lengths, block, end_of_text == "prepend")


# --- ranks, placements, resumes ---

LENGTHS = [5, 40, 7, 7, 300, 12, 90, 33, 33, 33, 64, 65, 1, 128, 2, 2, 17] * 9


@pytest.fixture(scope="module")
def bins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bins_of(tmp_path_factory.mktemp("packed") / "bins", LENGTHS, "append")


def test_one_digest_for_any_number_of_ranks_and_two_resumes(bins):
    found = set()
    for ranks in (1, 2, 4, 8):
        for placement in ("host", "device"):
            parts = [
                packed(bins, 16 // ranks, 64, rank=r, world_size=ranks, placement=placement)
                for r in range(ranks)
            ]
            found.add(digest(union(parts), 30))
    first = packed(bins, 16, 64)
    parts = list(islice(first, 7))
    second = packed(bins, 16, 64)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    parts += islice(second, 9)
    third = [packed(bins, 4, 64, rank=r, world_size=4) for r in range(4)]
    for rank in third:
        rank.load_state_dict(second.state_dict())
    found.add(digest(chain(parts, union(third)), 30))
    assert len(found) == 1


def test_more_ranks_than_rows_share_several_epochs(tmp_path):
    bins = bins_of(tmp_path / "bins", [3, 9, 4], "none")
    ranks = [packed(bins, 2, 16, rank=r, world_size=8) for r in range(8)]
    rows = ranks[0]._rows.splits[0].plan.blocks
    assert rows < 16
    x = torch.cat([rank.get_batch()[0] for rank in ranks])
    for epoch in range(16 // rows):
        mine = x[epoch * rows : (epoch + 1) * rows]
        assert sorted(mine[mine > 0].tolist()) == list(range(1, 16))


def test_epochs_deal_documents_of_a_length_anew(bins):
    batches = packed(bins, 1, 64)
    rows = batches._rows.splits[0].plan.blocks
    epochs = [[tuple(x[0].tolist()) for x, *_ in islice(batches, rows)] for _ in range(3)]
    assert sorted(epochs[0]) != sorted(epochs[1])
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_each_document_of_a_length_comes_to_each_slot_equally_often():
    from slm.batching.orders.pieces import DocumentIndex, packed_pieces

    offsets = np.cumsum([0] + [10] * 6)
    order = plan("packed", 3, 60, 10, offsets)
    pieces = packed_pieces(order, DocumentIndex(offsets, False), np.arange(60_000, dtype=np.uint64))
    counts = np.bincount(pieces.document.reshape(-1, 6).T.ravel() * 6 + np.repeat(range(6), 10_000))
    assert (abs(counts - 10_000 / 6) < 5 * np.sqrt(10_000 * 5 / 36)).all()


def test_positions_part_two_pieces_of_one_document(tmp_path):
    batches = packed(bins_of(tmp_path / "bins", [130, 20]), 8, 64)
    _, _, documents = batches.get_batch()
    begins = documents.cu_seqlens.long().unique()
    piece = torch.bucketize(torch.arange(8 * 64), begins, right=True).view(8, 64)
    query, key = torch.arange(64)[:, None], torch.arange(64)
    causal = query >= key
    alike = (piece[:, :, None] == piece[:, None]) & causal
    within = causal & (query - key <= documents.positions[:, :, None])
    assert torch.equal(within, alike)
    assert not torch.equal((documents.ids[:, :, None] == documents.ids[:, None]) & causal, alike)


# --- the plan ---


def slow_kinds(lengths: list[int], block: int) -> list[tuple[int, ...]]:
    """Best fit decreasing, a document at a time."""
    rows: list[list[int]] = []
    for n in sorted((n for n in lengths if 1 <= n <= block), reverse=True):
        fits = [row for row in rows if block - sum(row) >= n]
        if fits:
            max(fits, key=sum).append(n)
        else:
            rows.append([n])
    return sorted(tuple(row) for row in rows)


@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_as_full_as_best_fit_decreasing(seed):
    lengths, block = random_lengths(seed)
    made = packing(np.cumsum([0, *lengths]), block)
    assert made.rows == len(slow_kinds(lengths, block))
    assert made.padding == made.rows * block - sum(lengths)


def random_lengths(seed: int) -> tuple[list[int], int]:
    """Lengths of documents, and those of a row, which none exceeds."""
    rng = np.random.default_rng(seed)
    block = int(rng.integers(1, 120))
    return rng.integers(0, block + 1, int(rng.integers(1, 200))).tolist(), block


def slow_rows(lengths: list[int], block: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """Free tokens, and length and slot of each document, of each row: packing.py's rules 2, 3."""
    kinds: list[list[tuple[int, list]]] = []  # in the order in which they were put
    for n in range(block, 0, -1):
        slots = [*range(lengths.count(n))]
        while slots and (fits := [kind for kind in kinds if kind[0][0] >= n]):
            free = min(kind[0][0] for kind in fits)
            kind = [kind for kind in fits if kind[0][0] == free][-1]
            kinds = [other for other in kinds if other is not kind]
            taken, others = kind[: len(slots)], kind[len(slots) :]
            kinds += [others] if others else []
            kinds.append([(free - n, [*row, (n, slots.pop(0))]) for _, row in taken])
        each = block // n
        many = len(slots) // each
        new = [[(n, slots[i + j * many]) for j in range(each)] for i in range(many)]
        left = [(n, slot) for slot in slots[many * each :]]
        kinds += [[(block - each * n, row) for row in new]] if new else []
        kinds += [[(block - len(left) * n, left)]] if left else []
    return [row for kind in sorted(kinds, key=lambda kind: -kind[0][0]) for row in kind]


@pytest.mark.parametrize("seed", range(30))
def test_the_plan_is_that_of_its_words(seed):
    lengths, block = random_lengths(seed)
    made = packing(np.cumsum([0, *lengths]), block)
    rows = []
    for i, copies in enumerate(np.diff(made.first_row)):
        own = slice(made.first_slot[i], made.first_slot[i + 1])
        for copy in range(copies):
            slots = [
                *zip(made.lengths[own].tolist(), (made.slots[own] + copy).tolist(), strict=True)
            ]
            rows.append((int(made.gap[i]), slots))
    wanted = slow_rows(lengths, block)
    assert rows == [(free if free >= LEAST_GAP else 0, slots) for free, slots in wanted]


STORIES = Path(__file__).parents[3] / "shared/tinystories/train.jsonl"


def lengths_like_stories() -> np.ndarray:
    from benchmark.batches.synthetic import lengths

    return lengths(2_100_000, 1337)


def lengths_of_stories() -> np.ndarray:
    import tiktoken

    if not STORIES.exists():
        pytest.skip(f"{STORIES} is not there: real stories are not part of the repository")
    texts = [json.loads(line)["text"] for line in STORIES.open(encoding="utf-8")]
    encode = tiktoken.get_encoding("gpt2").encode_ordinary
    return np.array([len(encode(text)) + 1 for text in texts])  # with end-of-text


@pytest.mark.parametrize(("lengths", "percent"), [
    (lengths_of_stories, (0.3, 0.4, 2)), (lengths_like_stories, (0.1, 0.1, 0.05)),
])  # fmt: skip
def test_rows_are_nearly_full(lengths, percent):
    offsets = np.append(0, np.cumsum(lengths()))
    for block, most in zip((256, 512, 1024), percent, strict=True):
        made = packing(offsets, block)
        assert made.padding <= made.rows * block * most / 100


def test_long_documents_fill_gaps_of_16_tokens_and_more():
    block = 100
    made = packing(np.cumsum([0, 84, 85, 120, 60]), block)
    assert made.gap.tolist() == [40, 16, 0, 100]
    assert made.stream.tolist() == [0, 40, 56, 56]
    assert made.padding == made.rows * block - 349
    assert LEAST_GAP == 16


def test_the_plan_takes_few_bytes_per_document():
    rng = np.random.default_rng(1)
    lengths = rng.gamma(4, 222 / 4, 30_000).astype(np.int64).clip(1)
    for block in (256, 512, 1024):
        made = packing(np.cumsum([0, *lengths]), block)
        assert made.nbytes <= 8 * len(lengths) + 4 * block
        assert made.padding < 0.003 * made.rows * block
    each_its_own = packing(np.cumsum([0, *range(130, 256)]), 256)  # a kind per row
    assert each_its_own.nbytes <= 28 * 126 + 4 * 258 + 100


def test_a_plan_of_many_tokens_counts_in_64_bits():
    offsets = np.array([0, 2**31, 2**31 + 5])
    assert packing(offsets, 2**20).stream_of.bounds.dtype == np.int64
    assert packing(np.array([0, 2**30, 2**31 - 1]), 2**20).stream_of.bounds.dtype == np.int32


def test_an_epoch_has_a_length(bins):
    batches = packed(bins, 4, 64)
    order = batches._rows.splits[0].plan
    for steps, whole in ((length(order, 4), True), (length(order, 4) - 1, False)):
        batches.step = 0
        had = [x[documents.ids >= 0] for x, _, documents in islice(batches, steps)]
        assert (torch.cat(had).unique().numel() == sum(LENGTHS)) == whole


# --- the definition ---


def slow_row(lengths: list[int], block: int, seed: int, row: int) -> list[tuple[int, int, int]]:
    """(document, first token in it, tokens) of each piece, from the words of pieces.py."""
    pack = packing(np.cumsum([0, *lengths]), block)
    epoch, place = divmod(row, pack.rows)
    k, d = (slow_word(slow_word(seed, i), epoch) for i in (2, 3))
    r = slow_permuted(k, place, pack.rows)
    kind = max(i for i, first in enumerate(pack.first_row[:-1]) if first <= r)
    copy, made = r - int(pack.first_row[kind]), []
    for q in range(pack.first_slot[kind], pack.first_slot[kind + 1]):
        long = int(pack.lengths[q])
        mine = [i for i, n in enumerate(lengths) if n == long]
        item = slow_permuted(slow_word(d, long), int(pack.slots[q]) + copy, len(mine))
        made.append((mine[item], 0, long))
    stream = [(i, j) for i, n in enumerate(lengths) if n > block for j in range(n)]
    f = int(pack.stream[kind]) + copy * int(pack.gap[kind])
    turn = slow_word(k, 0) * len(stream) >> 64
    for at in range(f, min(f + int(pack.gap[kind]), len(stream))):
        document, inside = stream[(at + turn) % len(stream)]
        if inside and made and made[-1][0] == document:
            made[-1] = (document, made[-1][1], made[-1][2] + 1)
        else:
            made.append((document, inside, 1))
    return made


@pytest.mark.parametrize("block", [7, 16, 64, 150])
def test_rows_follow_the_definition(tmp_path, block):
    lengths = [5, 40, 7, 0, 7, 300, 12, 90, 33, 33, 64, 65, 1, 128, 2, 2, 17, 7, 7, 5]
    edges = np.cumsum([0, *lengths])
    batches = packed(bins_of(tmp_path / "bins", lengths), 1, block, seed=11)
    rows = batches._rows.splits[0].plan.blocks
    for row, (x, _, documents) in enumerate(islice(batches, 3 * rows)):
        wanted = [
            edges[document] + inside + np.arange(tokens)
            for document, inside, tokens in slow_row(lengths, block, 11, row)
        ]
        assert x[documents.ids >= 0].tolist() == np.concatenate(wanted).tolist()


def test_the_first_rows_stay_what_they_are(bins):
    x, *_ = packed(bins, 4, 64, seed=1337).get_batch()
    assert x[:, 0].tolist() == GOLDEN


# --- which step, which row ---


@pytest.mark.parametrize("end_of_text", ["append", "prepend"])
@pytest.mark.parametrize("block", [5, 16, 64, 400])
def test_seen_and_coverage_are_what_counting_gives(tmp_path, end_of_text, block):
    lengths = [5, 40, 7, 7, 300, 12, 90, 33, 64, 65, 1, 128, 2, 2, 17]
    batches = packed(bins_of(tmp_path / "bins", lengths, end_of_text), 3, block, seed=1)
    split = batches._rows.splits[0]
    tokens, steps = sum(lengths), 5 + 2 * split.plan.blocks // 3
    where: dict[int, list] = {token: [] for token in range(tokens)}
    had: set[int] = set()
    for step, (_, y, _) in enumerate(islice(batches, steps)):
        for row, token in torch.nonzero(y != NO_TARGET):
            where[int(y[row, token])].append([step, 0, int(row)])
        had |= set(y[y != NO_TARGET].tolist())
        share = coverage(split.plan, 3, steps=step + 1, documents=split.documents)
        assert share.seen == pytest.approx(len(had) / (tokens - 1))
    for token, wanted in where.items():
        found = seen(split.plan, token, 3, steps=steps, documents=split.documents)
        assert found.tolist() == wanted


def test_seen_of_packed_needs_the_documents(bins):
    order = packed(bins, 4, 64)._rows.splits[0].plan
    for ask in (lambda: seen(order, 5, 4), lambda: coverage(order, 4)):
        with pytest.raises(TypeError, match="needs the documents"):
            ask()


# --- refusals ---


def test_data_without_tokens_is_refused(tmp_path):
    bins = bins_of(tmp_path / "bins", [0, 0])
    with pytest.raises(UserError) as error:
        packed(bins, 1, 4)
    assert "the data has 0" in one_line(error)


def test_a_row_may_be_longer_than_all_the_data(tmp_path):
    bins = bins_of(tmp_path / "bins", [3, 2], "append")
    x, y, documents = packed(bins, 2, 9).get_batch()
    assert documents.ids.tolist() == [[0, 0, 0, 1, 1, -1, -1, -1, -1]] * 2
    assert x.tolist() == [[0, 1, 2, 3, 4, 0, 0, 0, 0]] * 2
    assert y.tolist() == [[1, 2, -100, 4, -100, -100, -100, -100, -100]] * 2


def test_it_is_said_where_every_document_is_cut(tmp_path):
    bins = bins_of(tmp_path / "bins", [30, 40, 50], "append")
    with pytest.warns(
        UserWarning, match="all 3 documents of train in .*bins are longer than a row of 16"
    ):
        packed(bins, 2, 16)
