"""Tokenizers of four kinds, trained by Hugging Face's trainers, as their tokenizer.json."""
# ruff: noqa: S106 - names of tokens

from collections.abc import Callable
from functools import cache

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from slm.text.stories import stories

SIZE = 600
TEXTS = [
    *stories(1337, "train", 400),
    "naïve café — “quotes”",
    "昔々 あるところに",
    "1234 + 5 = 😊",
]


@cache
def byte_level() -> str:
    """GPT-2's kind, as most models have it: lossless."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return _trained(
        made, trainers.BpeTrainer, ["<|endoftext|>", "<|im_end|>"], initial_alphabet=alphabet
    )


@cache
def unigram() -> str:
    """T5's kind: NFKC, and words begin with U+2581."""
    made = Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return _trained(made, trainers.UnigramTrainer, ["<unk>", "</s>"], unk_token="<unk>")


@cache
def word_piece() -> str:
    """BERT's kind: lower case, no accents, and words that are unknown."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    return _trained(made, trainers.WordPieceTrainer, ["[UNK]", "[SEP]"])


@cache
def byte_fallback() -> str:
    """Llama-2's kind: BPE of a whole text, bytes where a character is unknown."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    spaces = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    made.normalizer = normalizers.Sequence(spaces)
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    made.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    letters = [f"<0x{byte:02X}>" for byte in range(256)]
    return _trained(made, trainers.BpeTrainer, ["<unk>", "</s>"], more=letters, extra=400)


def _trained(made: Tokenizer, trainer: Callable, special: list, more=(), extra=0, **options) -> str:
    tokens = [*special, *more]
    options = {"vocab_size": SIZE + extra, "show_progress": False, **options}
    made.train_from_iterator(TEXTS[:100], trainer(special_tokens=tokens, **options))
    return made.to_str()


KINDS = {
    "byte-level BPE": (byte_level, "<|im_end|>"),
    "Unigram": (unigram, "</s>"),
    "WordPiece": (word_piece, "[SEP]"),
    "BPE with byte fallback": (byte_fallback, "</s>"),
}
