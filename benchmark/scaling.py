"""What does a corpus take, on paper? `python -m benchmark.scaling` prints docs/scaling's table.

In: rates that were measured on two cores of an AMD EPYC, each with the command that measures it,
and three facts of FineWeb-Edu's sample. Out: for numbers of tokens the text, its requests, hours on
one machine and on many, disk and memory. Nothing is run.
"""

from typing import NamedTuple

# FineWeb-Edu's sample of 10 billion tokens: 45 GB of text, 28.5 GB of Parquet, 9,672,101 documents.
TEXT_BYTES = 4.5  # a token
PACKED = 28.5 / 45  # bytes of Parquet, for each of text
DOCUMENT_BYTES = 45e9 / 9_672_101

# `python -m benchmark.tokens.encodings`, gpt2 on varied text: stories would be faster
TOKENIZE = 90.7e6  # bytes of text a second and core
# `python -m tests.text.streamed 20.4`
AUDIT = 20.51e9 / 92.6 / 2
REQUEST_BYTES = 6.22e9 / 986  # of Parquet, a request
AUDIT_BYTES = 3.01e9 / 23_200_000  # of memory, a document
# `make bench-data DOCUMENTS=2119719`
BINS = 2.790e9  # bytes of text a second, on one machine
# docs/clusters.md: 10,000 units that do nothing, over Dask
DRIVER = 0.0043  # seconds a unit

CORES, NETWORK = 16, 1.25e9  # of a machine: its cores; bytes a second from the store (10 Gbit/s)
UNIT_BYTES, SHARD_TOKENS = 2e9, 1e8  # as params.yaml and docs/format.md have them
ID_BYTES, OFFSET_BYTES = 2, 16  # a token, a document
SIZES = {"10 B": 10e9, "100 B": 100e9, "1 T": 1e12, "15 T": 15e12}


class Needs(NamedTuple):
    """What a corpus takes."""

    text: float  # bytes
    requests: float
    alone: float  # hours on one machine: audit, tokenize, bins
    network: float  # of them, at least, for the text to come twice
    machines: float  # that tokenize in an hour
    units: float
    driver: float  # seconds, of a cluster's driver
    disk: float  # bytes: tokens/ and bins
    shards: float
    memory: float  # bytes, of the audit


def needs(tokens: float) -> Needs:
    """What so many tokens take."""
    text = tokens * TEXT_BYTES
    documents = text / DOCUMENT_BYTES
    network = 2 * text * PACKED / NETWORK / 3600
    seconds = text / (TOKENIZE * CORES) + text / (AUDIT * CORES) + text / BINS
    ids = tokens * ID_BYTES + documents * OFFSET_BYTES
    return Needs(
        text=text,
        requests=2 * text * PACKED / REQUEST_BYTES,
        alone=max(seconds / 3600, network),
        network=network,
        machines=max(text / TOKENIZE / CORES, text * PACKED / NETWORK) / 3600,
        units=text / UNIT_BYTES,
        driver=text / UNIT_BYTES * DRIVER,
        disk=2 * ids,
        shards=tokens / SHARD_TOKENS,
        memory=documents * AUDIT_BYTES,
    )


def main() -> None:
    """Print the table."""
    columns = {name: needs(tokens) for name, tokens in SIZES.items()}
    rows = [
        ("tokens", *columns),
        ("text", *(_bytes(of.text) for of in columns.values())),
        ("requests", *(_many(of.requests) for of in columns.values())),
        (f"hours, one machine of {CORES} cores", *(_hours(of.alone) for of in columns.values())),
        ("of them, at least, network", *(_hours(of.network) for of in columns.values())),
        ("machines to tokenize in an hour", *(_up(of.machines) for of in columns.values())),
        ("units, and a driver's seconds for them",
         *(f"{_up(of.units)}, {_up(of.driver)}" for of in columns.values())),
        ("disk, tokens/ and bins", *(_bytes(of.disk) for of in columns.values())),
        ("shards", *(_up(of.shards) for of in columns.values())),
        ("memory of the audit", *(_bytes(of.memory) for of in columns.values())),
    ]  # fmt: skip
    rows.insert(1, ("---", *("---:" for _ in columns)))
    for row in rows:
        print(f"| {' | '.join(row)} |")


def _bytes(number: float) -> str:
    power = 1e12 if number >= 1e12 else 1e9
    return f"{number / power:.3g} {'TB' if power == 1e12 else 'GB'}"


def _many(number: float) -> str:
    return f"{number / 1e6:.3g} M" if number >= 1e6 else f"{number:,.0f}"


def _hours(number: float) -> str:
    return f"{number:.2f}" if number < 10 else f"{number:,.0f}"


def _up(number: float) -> str:
    return f"{-int(-number // 1):,}"


if __name__ == "__main__":
    main()
