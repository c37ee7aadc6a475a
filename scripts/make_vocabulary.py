"""Stage `vocabulary`: record which vocabulary the text is encoded with, by name and by hash."""

import sys
from pathlib import Path

from slm.errors import door
from slm.files import landing, to_json
from slm.params import chosen, read_params, text
from slm.vocabulary import describe, load_encoding


def main() -> None:
    """Write data/<dataset>/vocabulary/vocabulary.json for the dataset on the command line."""
    params = read_params(Path("params.yaml"))
    name = chosen(params, sys.argv[1:])
    encoding = load_encoding(text(params, "tokenizer", "encoding"))
    found = describe(encoding)
    with landing(Path("data", name, "vocabulary")) as folder:
        (folder / "vocabulary.json").write_bytes(to_json(found))
    print(f"vocabulary: {found['encoding']}, {found['vocab_size']:,} ids")


if __name__ == "__main__":
    door(main)
