"""Has a file of the hub the column that params.yaml names? Told from a part of it.

In: a large file that is about to be downloaded. Out: a UserError that lists the columns there are,
where that one is none of them: of Parquet in its footer, of JSON Lines in the first line.
"""

from contextlib import suppress

from slm.text.columnar import check_column
from slm.text.counting import PACKED
from slm.text.hub.errors import as_user_error
from slm.text.hub.listing import File
from slm.text.json_lines import check_first_line

PART_BYTES = 2**20  # asked for at a time
TOLD = (".parquet", ".jsonl", ".json", ".gz", ".zst")  # and of a JSON array nothing is told
CODECS = {".jsonl.gz": "gzip", ".jsonl.zst": "zstd"}


def check_published(entry: dict, commit: str, file: File) -> None:
    """Raises UserError if a large file of a commit has no such column.

    Other faults of the file are said when it is here, those of a small file all. Of JSON Lines the
    first line tells, where it ends in the first MiB, of a packed file in the first 64 KiB of text.
    """
    if (file.bytes or PART_BYTES) < PART_BYTES or not file.name.endswith(TOLD):
        return
    import pyarrow as pa
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    name = file.name
    path = f"datasets/{entry['path']}@{commit}/{name}"
    with as_user_error(entry, name), HfFileSystem().open(path, "rb", PART_BYTES) as part:
        if name.endswith(".parquet"):
            with suppress(pa.ArrowException, OSError):
                check_column(pq.read_schema(part), name, entry["column"])
            return
        start = part.read(PART_BYTES)
    check_first_line(_unpacked(start), name, entry["column"])


def _unpacked(start: bytes) -> bytes:
    """The first bytes of a file of JSON Lines, from those of the file, packed or not."""
    import pyarrow as pa

    packing = next((kind for kind, magic in PACKED.items() if start.startswith(magic)), None)
    if packing is None:
        return start
    with suppress(OSError), pa.input_stream(pa.py_buffer(start), CODECS[packing]) as file:
        return file.read(PART_BYTES // 16)  # less than there is: the rest is not here
    return b""
