"""The format: what is written is what was meant, and what was damaged is found."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.bins import format as format_
from slm.bins.format import write_docs
from slm.bins.opening import open_bins
from slm.bins.verifying import damage
from slm.bins.writing.documents import with_end_of_text
from slm.bins.writing.from_tokens import write_bins
from slm.bins.writing.pieces import PLACED, Piece
from slm.bins.writing.reading import split_at
from slm.core.errors import UserError
from slm.core.files import CHUNK_BYTES
from slm.core.ids import dtype_for, to_dtype, write_ids
from slm.text.corpus import make_raw
from slm.tokens.token_files import make_tokens
from tests.workspace import hashes

ENCODING = tiktoken.get_encoding("gpt2")
EOT = ENCODING.eot_token
STORIES = [
    "One day, a cat.",
    "",
    "“Hi,” said Zoë.\n\nThe end.",
    "<|endoftext|> is text",
    "",
    "x" * 999,
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokens/ folder of STORIES, as train and, backwards, as validation."""
    folder = tmp_path_factory.mktemp("tokens")
    return tokenized(folder, {"train": STORIES, "validation": STORIES[::-1]})


def tokenized(folder: Path, splits: dict[str, list[str]], workers: int = 2) -> Path:
    for name in ("source", "raw", "tokens"):
        (folder / name).mkdir()
    for split, texts in splits.items():
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        (folder / "source" / f"{split}.jsonl").write_text(lines)
    entry = {"kind": "files", "files": {split: [f"{split}.jsonl"] for split in splits}}
    make_raw("three", entry, folder / "source", folder / "raw")
    make_tokens(folder / "raw", ENCODING, folder / "tokens", "tiktoken", workers)
    return folder / "tokens"


def built(tokens: Path, folder: Path, policy: str = "none") -> Path:
    folder.mkdir()
    write_bins(tokens, folder, policy)
    for path in folder.iterdir():  # a bin may be a link to its tokens, and these tests break bins
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    return folder


def expected_ids(texts: list[str], policy: str) -> list[int]:
    before, after = {"none": ([], []), "append": ([], [EOT]), "prepend": ([EOT], [])}[policy]
    return [i for text in texts for i in before + ENCODING.encode_ordinary(text) + after]


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
def test_a_bin_is_the_reference_s_ids_end_to_end_and_nothing_else(tokens, tmp_path, policy):
    folder = built(tokens, tmp_path / "bins", policy)
    for split, texts in (("train", STORIES), ("validation", STORIES[::-1])):
        actual = np.fromfile(folder / f"{split}.bin", "<u2").tolist()
        assert actual == expected_ids(texts, policy)


@pytest.mark.parametrize("policy", ["none", "append", "prepend"])
def test_rows_i_and_i_plus_one_of_docs_bound_document_i(tokens, tmp_path, policy):
    opened = open_bins(built(tokens, tmp_path / "bins", policy))
    docs, ids = opened.docs("train"), opened.ids("train")
    assert docs.dtype == np.dtype("<u8") and docs.shape == (len(STORIES) + 1, 2)
    for i, text in enumerate(STORIES):
        assert ids[docs[i, 0] : docs[i + 1, 0]].tolist() == expected_ids([text], policy)
        assert docs[i + 1, 1] - docs[i, 1] == len(text.encode())


def test_the_manifest_counts_what_is_there(tokens, tmp_path):
    manifest = open_bins(built(tokens, tmp_path / "bins", "append")).manifest
    train = manifest["splits"]["train"]
    assert train["tokens"] == len(expected_ids(STORIES, "append"))
    assert train["documents"] == len(STORIES)
    assert train["text_bytes"] == sum(len(text.encode()) for text in STORIES)
    assert (manifest["dtype"], manifest["end_of_text"]) == ("uint16", "append")


def test_the_same_tokens_give_the_same_bytes(tokens, tmp_path):
    first, second = built(tokens, tmp_path / "a"), built(tokens, tmp_path / "b")
    assert hashes(first) == hashes(second)


@given(
    st.lists(st.integers(0, 4), max_size=30),
    st.integers(1, 7),
    st.sampled_from(["append", "prepend"]),
)
@settings(deadline=None)  # a busy machine is no fault
def test_end_of_text_goes_in_the_right_places_whatever_the_pieces(lengths, size, policy):
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids, actual = np.arange(ends[-1], dtype="<u2"), []
    for first in range(0, len(lengths), size):
        own = ends[first : first + size + 1]
        documents = np.zeros(len(own) - 1, PLACED)
        documents["tokens"] = np.diff(own)
        content = ids[own[0] : own[-1]].tobytes()
        piece = Piece(documents, split_at(content, 2 * (own[1:] - own[0])))
        more, marked = with_end_of_text(piece, np.dtype("<u2"), policy, 9999)
        assert (more["tokens"] == documents["tokens"] + 1).all() and len(marked) == more[
            "tokens"
        ].sum()
        actual += marked.tolist()
    slow = []
    for start, end in pairwise(ends):
        document = list(range(start, end))
        slow += [*document, 9999] if policy == "append" else [9999, *document]
    assert actual == slow


def test_uint16_up_to_65536_ids_and_uint32_above():
    assert [dtype_for(n).name for n in (256, 65_536, 65_537, 200_000)] == ["uint16"] * 2 + [
        "uint32"
    ] * 2


def test_an_id_that_does_not_fit_is_refused_and_never_wraps(tmp_path):
    with pytest.raises(ValueError, match="65536 do not fit into uint16"):
        write_ids(tmp_path / "train.bin", [np.array([1, 65_536])], np.dtype("<u2"))
    with pytest.raises(ValueError, match="-1"):
        to_dtype(np.array([-1]), np.dtype("<u4"))
    assert to_dtype(np.array([65_535]), np.dtype("<u2")).tolist() == [65_535]


def test_uint32_bins_hold_large_ids(tmp_path):
    write_ids(tmp_path / "x.bin", [np.array([65_536, 199_999])], dtype_for(200_000))
    assert np.fromfile(tmp_path / "x.bin", "<u4").tolist() == [65_536, 199_999]


def test_docs_are_what_numpy_itself_would_save(tmp_path):
    rows = np.arange(10, dtype="<u8").reshape(5, 2)
    write_docs(tmp_path / "ours.npy", [rows[:2], rows[2:]], documents=4)
    np.save(tmp_path / "theirs.npy", rows)
    assert (tmp_path / "ours.npy").read_bytes() == (tmp_path / "theirs.npy").read_bytes()


def test_the_header_of_docs_is_these_bytes_whatever_numpy_writes(tmp_path):
    write_docs(tmp_path / "x.npy", [np.zeros((3, 2), "<u8")], documents=2)
    form = b"{'descr': '<u8', 'fortran_order': False, 'shape': (3, 2), }"
    header = b"\x93NUMPY\x01\x00\x76\x00" + form.ljust(117) + b"\n"
    assert (tmp_path / "x.npy").read_bytes() == header + bytes(48)


def test_a_file_of_several_chunks_has_a_hash_for_each(tmp_path, monkeypatch):
    monkeypatch.setattr("slm.core.files.CHUNK_BYTES", 64)
    entry = write_ids(tmp_path / "x.bin", [np.arange(80), np.arange(20)], np.dtype("<u2"))
    assert entry["bytes"] == 200 and len(entry["sha256"]) == 4


def test_only_empty_documents_make_an_empty_bin_that_opens(tmp_path):
    opened = open_bins(built(tokenized(tmp_path, {"train": [""] * 100_000}), tmp_path / "bins"))
    assert len(opened.ids("train")) == 0 and len(opened.docs("train")) == 100_001


def test_fewer_documents_than_workers_are_no_matter(tmp_path):
    folder = built(tokenized(tmp_path, {"train": ["One."]}, workers=5), tmp_path / "bins")
    assert open_bins(folder).ids("train").tolist() == ENCODING.encode_ordinary("One.")


def test_without_end_of_text_a_bin_is_its_tokens_and_takes_no_room_of_its_own(tokens, tmp_path):
    write_bins(tokens, tmp_path, "none")
    assert (tmp_path / "train.bin").samefile(tokens / "train.ids")


def test_whole_bins_have_no_damage(tokens, tmp_path):
    assert list(damage(built(tokens, tmp_path / "bins"))) == []


def test_any_flipped_bit_is_found_and_its_file_named(tokens, tmp_path):
    folder = built(tokens, tmp_path / "bins")
    draw = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        intact = path.read_bytes()
        for bit in draw.integers(0, len(intact) * 8, 40):
            spoilt = bytearray(intact)
            spoilt[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(spoilt)
            lines = list(damage(folder))
            assert len(lines) == 1 and path.name in lines[0], (path.name, bit, lines)
        path.write_bytes(intact)


def test_a_flipped_bit_is_located_by_chunk_and_byte_range(tmp_path, monkeypatch):
    folder = tmp_path / "bins"
    folder.mkdir()
    ids = np.zeros(CHUNK_BYTES + 4096, "<u2")  # two chunks and a little
    entry = write_ids(folder / "train.bin", [ids], np.dtype("<u2"))
    splits = {"train": {"tokens": len(ids), "files": {"train.bin": entry}}}
    format_.write_manifest(folder, {"dtype": "uint16", "splits": splits})
    with (folder / "train.bin").open("r+b") as file:
        file.seek(CHUNK_BYTES + 5)
        file.write(b"\x01")
    assert list(damage(folder)) == [
        f"{folder}/train.bin differs in chunk 1, bytes 16,777,216 to 33,554,431"
    ]


def test_missing_truncated_swapped_and_stray_files_are_named(tokens, tmp_path):
    intact = built(tokens, tmp_path / "intact")

    def after(change) -> str:
        folder = tmp_path / "broken"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(intact, folder)
        change(folder)
        return "\n".join(damage(folder))

    def swap(folder: Path) -> None:
        (folder / "train.bin").rename(folder / "x")
        (folder / "validation.bin").rename(folder / "train.bin")
        (folder / "x").rename(folder / "validation.bin")

    def truncate(folder: Path) -> None:
        with (folder / "train.docs.npy").open("r+b") as file:
            file.truncate(100)

    assert "train.bin is missing" in after(lambda f: (f / "train.bin").unlink())
    assert "train.docs.npy has 100 bytes, expected" in after(truncate)
    swapped = after(swap)
    assert "train.bin differs in chunk 0" in swapped and "validation.bin differs" in swapped
    assert "notes.txt is not of these bins" in after(lambda f: (f / "notes.txt").touch())
    assert "manifest.json not found" in after(lambda f: (f / "manifest.json").unlink())
    with pytest.raises(ValueError, match="not found: no bins here"):  # a UserError is one
        open_bins(intact / "train.bin")


def test_a_manifest_of_another_format_is_refused_with_both_numbers(tokens, tmp_path):
    folder = built(tokens, tmp_path / "bins")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(UserError, match="has format 99, this version of slm reads 1 and 2"):
        open_bins(folder)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", "{", "\ufffd"])
def test_a_manifest_that_is_none_is_one_line(tokens, tmp_path, content):
    folder = built(tokens, tmp_path / "bins")
    (folder / "manifest.json").write_text(content)
    assert len(list(damage(folder))) == 1
    with pytest.raises(UserError, match=r"manifest\.json"):
        open_bins(folder)


def test_opening_notices_a_bin_that_lost_its_end(tokens, tmp_path):
    folder = built(tokens, tmp_path / "bins")
    with (folder / "train.bin").open("r+b") as file:
        file.truncate(10)
    with pytest.raises(UserError, match="has 10 bytes, expected"):
        open_bins(folder)


def test_opening_reads_every_byte_when_asked_to_verify(tokens, tmp_path):
    folder = built(tokens, tmp_path / "bins", "append")
    assert open_bins(folder, verify=True).manifest == open_bins(folder).manifest
    content = bytearray((folder / "train.docs.npy").read_bytes())
    content[-1] ^= 1
    (folder / "train.docs.npy").write_bytes(content)
    open_bins(folder)
    with pytest.raises(UserError, match=r"train\.docs\.npy differs in chunk 0, .* FIX=1` repairs"):
        open_bins(folder, verify=True)


@pytest.mark.parametrize("policy", ["none", "append"])
@pytest.mark.parametrize("name", ["train.ids", "train.totals"])
def test_corrupt_tokens_never_become_bins(tokens, tmp_path, name, policy):
    corrupt = tmp_path / "tokens"
    shutil.copytree(tokens, corrupt)
    content = bytearray((corrupt / name).read_bytes())
    content[len(content) // 2] ^= 1
    for spoilt in (bytes(content), content[:-8], b""):
        (corrupt / name).write_bytes(spoilt)
        out = tmp_path / f"bins{len(spoilt)}{spoilt[:1].hex()}"
        shutil.rmtree(out, ignore_errors=True)
        with pytest.raises(UserError, match=f"{name} is not as tokens.json says"):
            built(corrupt, out, policy)
