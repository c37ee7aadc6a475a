"""The embedded corpus: small stories in the manner of TinyStories, from a seed.

In: a seed, the name of a split and a number of documents. Out: that many stories as strings.
The same three give the same text on every Python and platform, and the first k stories do not
depend on how many are asked for. Memory is constant. Paragraphs are separated by blank lines, the
text holds a little beyond ASCII, and about one document in 2,000 is empty on purpose.

"train" and "validation" share no story, by construction: the numbers of the hero's and the
friend's names, added up, say on which side of a fixed line a story is (`_held_out`). Every
story says both names and no other, so a text belongs to one pair, and a pair to one side.
The words and sentences are data: see stories.toml.
"""

import functools
import hashlib
import random
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

BLOCK = 1_000  # documents that share one random stream; a block can be told on its own
HELD_OUT = 19  # about one pair of names in 19 is for validation alone
EMPTY, CURLY, BEASTS, ONE_PARAGRAPH = 1 / 2_000, 1 / 16, 0.3, 0.12  # shares of the documents

Draw = Callable[[], float]  # uniform in [0, 1)


def stories(seed: int, split: str, documents: int) -> Iterator[str]:
    """Yield `documents` stories of `split`: "validation", or any other name for the other side.

    Splits of other names differ from one another by their random streams only.
    """
    for start in range(0, documents, BLOCK):
        yield from _block(seed, split, start // BLOCK, min(BLOCK, documents - start))


def _block(seed: int, split: str, block: int, documents: int) -> Iterator[str]:
    digest = hashlib.sha256(f"{seed}/{split}/{block}".encode()).digest()
    # Only random() is promised to stay the same between versions of Python.
    draw = random.Random(int.from_bytes(digest[:8], "big")).random
    grammar = _grammar()
    telling = _Telling(grammar, draw)
    for _ in range(documents):
        telling.clear()
        telling.update(_cast(grammar, draw, split == "validation"))
        yield "" if draw() < EMPTY else telling.story()


def _held_out(hero: int, friend: int) -> bool:
    """Whether stories of this pair of names are validation; who is the hero does not matter."""
    return (hero + friend) % HELD_OUT == 0


class _Telling(dict):
    """The slots of one story. `template % telling` fills a template, drawing what is missing.

    What is drawn is forgotten at once, unless the grammar keeps it ("the place" stays the place).
    """

    def __init__(self, grammar: dict, draw: Draw):
        self.tables, self.kept, self.draw = grammar["tables"], grammar["kept"], draw

    def __missing__(self, slot: str) -> str:
        if (table := self.tables.get(slot)) is None:
            form, _, base = slot.partition(":")
            return FORMS[form](self[base])
        text = table[int(self.draw() * len(table))]
        if slot == "more":
            text = self._untold(table, text)
        if "%" in text:
            text %= self
        if slot in self.kept:
            self[slot] = text
        return text

    def story(self) -> str:
        text = self[self["plot"]]
        return _curly(text) if self.draw() < CURLY else text

    def _untold(self, table: list[str], episode: str) -> str:
        """An episode that this story has not told yet, if a few more draws find one."""
        for _ in range(5):
            episode = _pick(table, self.draw) if episode in self else episode
        self[episode] = ""
        return episode


def _cast(grammar: dict, draw: Draw, validation: bool) -> dict[str, str]:
    """Who is in the story: slots that several sentences must agree about."""
    hero, friend = _pair(grammar, draw, validation)
    names, girls = grammar["names"], grammar["girls"]
    cast = {"hero": names[hero], "friend": names[friend], "plot": _pick(grammar["plots"], draw)}
    cast["moral"] = _pick(grammar["morals"][cast["plot"]], draw)
    cast |= grammar["girl" if hero < girls else "boy"] | _pick(grammar["helpers"], draw)
    cast |= grammar["friend_girl" if friend < girls else "friend_boy"]
    if draw() < BEASTS:
        beasts = grammar["tables"]["beast"]
        cast |= {"kind": _pick(beasts, draw), "friend_kind": _pick(beasts, draw)}
    return cast | {"br": " "} if draw() < ONE_PARAGRAPH else cast


def _pair(grammar: dict, draw: Draw, validation: bool) -> tuple[int, int]:
    hero = _pick(grammar["heroes"], draw)
    friends = grammar["held_out"][hero % HELD_OUT] if validation else grammar["heroes"]
    friend = hero
    while friend == hero or _held_out(hero, friend) != validation:
        friend = _pick(friends, draw)
    return hero, friend


def _pick(table, draw: Draw):
    return table[int(draw() * len(table))]


def _curly(text: str) -> str:
    pieces = text.replace("'", "’").split('"')
    pieces[1::2] = [f"“{spoken}”" for spoken in pieces[1::2]]
    return "".join(pieces)


def _article(phrase: str) -> str:
    an = phrase[0] in "aeioué" and not phrase.startswith(("uni", "use", "uku", "one"))
    return f"an {phrase}" if an or phrase.startswith(("hour", "honest")) else f"a {phrase}"


def _plural(phrase: str) -> str:
    if phrase.endswith("arf"):
        return phrase[:-1] + "ves"
    if phrase.endswith(("s", "x", "ch", "sh")):
        return phrase + "es"
    if phrase.endswith("y") and phrase[-2] not in "aeou":
        return phrase[:-1] + "ies"
    return phrase + "s"


def _capital(phrase: str) -> str:
    return phrase[0].upper() + phrase[1:]


FORMS = {
    "a": _article,
    "A": lambda phrase: _capital(_article(phrase)),
    "s": _plural,
    "cap": _capital,
}


@functools.cache
def _grammar() -> dict:
    """stories.toml as flat tables: to draw from one is to index it once."""
    data = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    girls, boys = _words(data["names"]["girls"]), _words(data["names"]["boys"])
    names = girls + boys
    heroes = _by_rank(range(len(girls))) + _by_rank(range(len(girls), len(names)))
    tables = {slot: _by_rank(_words(text)) for slot, text in data["words"].items()}
    tables |= {slot: _alternatives(slot, text) for slot, text in data["lines"].items()}
    tables |= {slot: tables[words] for slot, words in data["kept"].items()}
    tables["br"] = ["\n\n", "\n\n", "\n\n", " "]
    return {
        "names": names,
        "girls": len(girls),
        "heroes": heroes,
        "held_out": [[f for f in heroes if _held_out(h, f)] for h in range(HELD_OUT)],
        "helpers": data["helpers"],
        "plots": _by_rank(data["morals"], 10, 200),
        "morals": {plot: text.strip().split("\n") for plot, text in data["morals"].items()},
        "tables": tables,
        "kept": frozenset(data["kept"]),
        **data["people"],
    }


def _words(text: str) -> list[str]:
    return [" ".join(word.split()) for word in text.split(",")]


def _by_rank(items, flat: int = 2, share: int = 400) -> list:
    """Repeat items so that earlier ones are commoner, roughly as 1 / (rank + flat)."""
    return [item for rank, item in enumerate(items) for _ in range(1 + share // (rank + flat))]


def _alternatives(slot: str, text: str) -> list[str]:
    """One template a line, or a line of as many dashes as there are empty ones."""
    space = " " if slot.startswith("maybe_") else ""
    lines = []
    for line in text.strip().split("\n"):
        lines += [_template(space + line)] if line.strip("-") else [""] * len(line)
    return _by_rank(lines, 5, 100) if all(lines) else lines


def _template(line: str) -> str:
    """`{slot}` becomes `%(slot)s`, which the % operator fills by looking up "slot"."""
    line = line.replace(" ¶", "¶").replace("¶", "{br}")
    return line.replace("{", "%(").replace("}", ")s")
