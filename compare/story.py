"""One story as each vocabulary cuts it, with the borders of tokens in colour.

In: an encoding, a text, and where end-of-text goes. Out: pieces, and HTML of them. The text of the
pieces, put together, is the text, exactly. A token may end inside a character (of an emoji, of a
curly quote): tokens that meet there share a piece, so that every piece can be read, and the piece
shows how many they are. What a reader could not see is drawn by the page's style sheet beside the
text (a dot for the space that a token begins with, ↵ for a line feed), so what is copied is the
text; control characters alone are replaced, by their pictures (U+2400 …), since HTML cannot hold
them.
"""

import re
from collections.abc import Iterable
from html import escape
from itertools import accumulate
from typing import NamedTuple

from slm.tokens import vocabulary
from slm.tokens.from_file import Encoding, FileTokenizer

SHORT, LONG = 300, 600  # characters of a story that is neither long to read nor soon over
UNBROKEN = 24  # characters: a longer token may go over the end of a line
CONTROLS = {code: 0x2400 + code for code in range(32) if code not in b"\t\n"} | {127: 0x2421}


class Piece(NamedTuple):
    """A stretch of text between two borders of tokens that are borders of characters, too."""

    text: str
    ids: tuple[int, ...]  # several, where they meet inside a character
    end_of_text: bool = False  # of end-of-text, whose text is empty


def choose(texts: Iterable[str]) -> str:
    """The first text of 300 to 600 characters, else the beginning of the longest; "" of none."""
    texts = list(texts)
    moderate = (text for text in texts if SHORT <= len(text) <= LONG)
    return next(moderate, None) or _beginning(max(texts, key=len, default=""))


def pieces(encoding: Encoding, text: str, end_of_text: str) -> list[Piece]:
    """The pieces of a text, with end-of-text as a piece of its own: none, append or prepend."""
    ends = vocabulary.end_of_text(encoding)
    end = Piece("", (ends,), True) if end_of_text != "none" and ends is not None else None
    before, after = (end if end_of_text == where else None for where in ("prepend", "append"))
    return [piece for piece in (before, *_cut(encoding, text), after) if piece]


def html(made: list[Piece]) -> str:
    """The pieces as spans that name their ids, end-of-text as an empty one of class "end"."""
    return "".join(map(_span, made))


def _beginning(text: str) -> str:
    """A text, or its words in the first 600 characters."""
    if len(text) <= LONG:
        return text
    words = re.match(rf"(?s).{{1,{LONG}}}(?=\s)", text)
    return words[0] if words else text[:LONG]


def _cut(encoding: Encoding, text: str) -> list[Piece]:
    content, (ids, ends) = text.encode(), _ends(encoding, text)
    made, start, first = [], 0, 0
    for last, end in enumerate(ends, 1):
        if end > start and (end == len(content) or not 0x80 <= content[end] < 0xC0):
            made.append(Piece(content[start:end].decode(), tuple(ids[first:last])))
            start, first = end, last
    if made and first < len(ids):  # ids of no text: with those before them
        made[-1] = made[-1]._replace(ids=(*made[-1].ids, *ids[first:]))
    return made or [Piece(text, tuple(ids))][: len(text)]


def _ends(encoding: Encoding, text: str) -> tuple[list[int], list[int]]:
    """The ids of a text, and where each one ends in its UTF-8; the last one at its end.

    What a tokenizer.json leaves out, such as spaces, is of the token after it.
    """
    if not isinstance(encoding, FileTokenizer):
        ids = encoding.encode_ordinary(text)
        return ids, [*accumulate(len(encoding.decode_single_token_bytes(i)) for i in ids)]
    made = encoding.tokenizer.encode(text, add_special_tokens=False)
    places = [0, *accumulate(len(letter.encode()) for letter in text)]
    ends = [*accumulate((places[end] for _, end in made.offsets), max)]
    return made.ids, [*ends[:-1], places[-1]] if ends else []


def _span(piece: Piece) -> str:
    about = f' title="{", ".join(map(str, piece.ids))}"'
    if piece.end_of_text:
        return f'<span class="end"{about}></span>'
    about += f' data-tokens="{len(piece.ids)}"' if len(piece.ids) > 1 else ""
    about += ' class="long"' if len(piece.text) > UNBROKEN else ""
    # A line may end before a token's space, so that space and word stay together.
    before = "<wbr>" if piece.text.startswith(" ") else ""
    shown = escape(piece.text.translate(CONTROLS)).replace("\n", '<i class="feed">\n</i>')
    shown = f'<i class="space"> </i>{shown[1:]}' if shown.startswith(" ") else shown
    return f"{before}<span{about}>{shown}</span>"
