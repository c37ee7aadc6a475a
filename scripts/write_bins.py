"""Stage `bins`: data/<dataset>/tokens, selection, vocabulary -> data/<dataset>/bins."""

import sys
from functools import cache
from pathlib import Path

from slm.bins.format import END_OF_TEXT
from slm.bins.manifest import Manifest, lengths_of
from slm.bins.writing.from_tokens import write_bins
from slm.core.errors import run_main
from slm.core.files import landing, read_json
from slm.core.params import choice, chosen, read_params, whole_or_none
from slm.stores.sending import check_store, write_to_store
from slm.tokens.agreement import AGREEMENTS
from slm.tokens.reference import Encode
from slm.tokens.tokenizer import ENGINES, choose_engine, encoder
from slm.tokens.vocabulary import load_described


def main() -> None:
    """Write the bins of the dataset named on the command line."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    policy = choice(params, "bins", "end_of_text", END_OF_TEXT)
    shard_tokens = whole_or_none(params, "bins", "shard_tokens")
    folder = Path("data", name)
    engine = choice(params, "tokenizer", "engine", ENGINES)
    tokens, vocabulary, selection = (folder / n for n in ("tokens", "vocabulary", "selection"))
    selected = (selection, _encoder(vocabulary, engine))
    store = check_store(params["bins"].get("store"))

    def write(out: Path) -> Manifest:
        return write_bins(tokens, out, policy, vocabulary, selected, shard_tokens)

    with landing(folder / "bins") as out:
        manifest = write_to_store(write, out, store, name) if store else write(out)
    size = sum(length for _, length in lengths_of(manifest))
    cut = f", shards of {shard_tokens:,} tokens" if shard_tokens else ""
    more = f"{cut}, in {store}" if store else cut
    print(f"bins:       {size / 1e6:,.1f} MB, {manifest['dtype']}, end of text: {policy}{more}")


def _encoder(vocabulary: Path, wanted: str) -> Encode:
    """An encoder that is loaded once it has to encode: most bins need none."""

    @cache
    def loaded() -> Encode:
        encoding = load_described(read_json(vocabulary / "vocabulary.json"), vocabulary)
        return encoder(choose_engine(wanted, encoding, AGREEMENTS)[0], encoding, AGREEMENTS)

    return lambda block: loaded()(block)


if __name__ == "__main__":
    run_main(main)
