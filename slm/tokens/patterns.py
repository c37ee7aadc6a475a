"""How is text split before its pieces become ids? The patterns of published vocabularies.

Each is written twice: as tiktoken takes it, which is the reference, and as the tokenizer.json of
Hugging Face's tokenizers has it, for the same pieces in an engine without possessive quantifiers.
Sources: tiktoken's openai_public.py for gpt2, cl100k and o200k, Qwen's tokenization_qwen.py for
qwen; Llama-3 has cl100k's. A vocabulary that is trained here needs no file of theirs.
"""

from typing import NamedTuple


class Pattern(NamedTuple):
    """A way to split text."""

    name: str
    regex: str  # as tiktoken takes it
    plain: str  # the same, as a tokenizer.json has it
    gigatoken: str  # gigatoken's name of it


_PLAIN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_REGEX = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_WORDS = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}"
    rf"|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = Pattern(
    "gpt2",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt2",
)
CL100K = Pattern("cl100k", _REGEX, _PLAIN, "cl100k")
O200K = Pattern("o200k", _WORDS, _WORDS, "o200k")
QWEN = Pattern(
    "qwen", _REGEX.replace("{1,3}+", ""), _PLAIN.replace("{1,3}", ""), "qwen2"
)  # a digit at a time
PATTERNS = {pattern.name: pattern for pattern in (GPT2, CL100K, O200K, QWEN)}
TRAINABLE = ("gpt2", "cl100k", "o200k")  # what `tokenizer.pattern` may be


def named(regex: str) -> Pattern | None:
    """Returns the pattern of a tiktoken encoding, or None if it has another."""
    return next((pattern for pattern in PATTERNS.values() if pattern.regex == regex), None)
