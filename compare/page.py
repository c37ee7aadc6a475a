"""One page about a comparison: one file of HTML, with no request to any network.

In: what was found of each variant, in order, a story, pictures as SVG, and the device that models
were trained on. Out: the bytes of the file: style sheet and pictures stand in it, it has no script,
and a Content-Security-Policy forbids the browser to fetch anything. Ids of each picture begin with
its name, so that pictures do not share them. All text is escaped. The same input gives the same
bytes.
"""

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from compare import story as stories
from compare import summary
from compare.columns import Table, tables
from compare.found import Found
from compare.table import html as html_table
from compare.table import same_line

STYLE = Path(__file__).with_name("page.css")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STORY = (
    "Each box is a token; hover over it for its id. A dot is the space that a token begins with, "
    "↵ a line feed. Borders of tokens may lie inside a character: the tokens that meet there share "
    "a box, with a small number that says how many they are."
)


def page(
    dataset: str,
    found: list[Found],
    story: str,
    pictures: dict[str, bytes],
    training_device: str | None,
) -> bytes:
    """The page as UTF-8: `pictures` are SVG by name, `story` a text that is shown cut into tokens.

    Raises xml.etree.ElementTree.ParseError where a picture is not well-formed.
    """
    title = escape(f"Tokenizations of {dataset}")
    sections = [
        f'<h1>{title}</h1>\n<p class="lead">{escape(summary.lead(dataset, found))}</p>',
        *_tables(found, training_device),
        *_pictures(pictures),
        *(_story(found, story) if story else ()),
        *_opened(dataset, found),
    ]
    body = "".join(f"{section}\n" for section in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{STYLE.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
""".encode()


def inlined(name: str, picture: bytes) -> str:
    """An SVG file as an element of HTML: no prolog and no metadata, its ids led by its own."""
    root, own = ElementTree.fromstring(picture), f"picture-{name}"  # noqa: S314 - our own
    for element in list(root.iter()):
        element.tag = _local(element.tag)
        element.attrib = {_local(key): value for key, value in element.attrib.items()}
        element.attrib = {key: _led(own, key, value) for key, value in element.attrib.items()}
        if element.tag == "style":  # which would hold for the whole page
            element.text = f"#{own} {{ {element.text} }}"
        for child in [child for child in element if _local(child.tag) == "metadata"]:
            element.remove(child)
    root.attrib |= {"id": own, "role": "img", "aria-label": summary.caption(name)}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A name without its namespace: HTML knows which one is meant."""
    return name.rpartition("}")[2]


def _led(own: str, key: str, value: str) -> str:
    if key == "id":
        return f"{own}-{value}"
    if key == "href":
        return re.sub("^#", f"#{own}-", value)
    return value.replace("url(#", f"url(#{own}-")


def _tables(found: list[Found], device: str | None) -> Iterator[str]:
    made = tables(found)
    figures = "".join(_table(table) for table in made if table.title != "training")
    yield _section("Figures", f"{figures}{_note(summary.FIGURES)}")
    for table in made:
        if table.title == "training":
            about = f"<p>{escape(summary.trained_on(found, device))}</p>\n"
            yield _section(
                "Training",
                f"{about}{_table(table)}{_note(f'{summary.BITS_A_BYTE} {summary.BOLD}')}",
            )


def _table(table: Table) -> str:
    made, same = html_table(table), same_line(table)
    return (_scrolled(table.title, made) if made else "") + (_note(same) if same else "")


def _pictures(pictures: dict[str, bytes]) -> Iterator[str]:
    drawn = (
        f"<figure>\n{inlined(name, picture)}\n"
        f"<figcaption>{escape(summary.caption(name))}</figcaption>\n</figure>\n"
        for name, picture in pictures.items()
    )
    if pictures:
        yield _section("Pictures", f'<div class="pictures">\n{"".join(drawn)}</div>\n')


def _story(found: list[Found], story: str) -> Iterator[str]:
    cut = "".join(_cut(one, story) for one in found)
    yield _section("One story", f'{_note(STORY)}<div class="stories">\n{cut}</div>\n')


def _cut(one: Found, story: str) -> str:
    pieces = stories.pieces(one.encoding, story, one.end_of_text)
    tokens = sum(len(piece.ids) for piece in pieces)
    ratio = len(story.encode()) / tokens
    return (
        f"<article>\n<h3>{escape(one.label)}</h3>\n"
        f"<p>{tokens:,} tokens, {ratio:.2f} bytes per token</p>\n"
        f'<p class="story">{stories.html(pieces)}</p>\n</article>\n'
    )


def _opened(dataset: str, found: list[Found]) -> Iterator[str]:
    rows = "".join(map(_name, found))
    head = "".join(f'<th scope="col">{name}</th>' for name in ("variant", "name"))
    made = (
        f'<table class="names">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table>\n"
    )
    python, shell = map(escape, summary.commands(dataset, found[0]))
    code = f"from slm import open_revision\n\nbins = {python}"
    code = "".join(f"<pre><code>{block}</code></pre>\n" for block in (code, shell))
    yield _section(
        "Opening a variant",
        f"{_note(summary.OPENED)}{_scrolled('names', made)}{code}",
    )


def _name(one: Found) -> str:
    label, name = map(escape, (one.label, one.name))
    return f'<tr><th scope="row">{label}</th><td><code>{name}</code></td></tr>\n'


def _scrolled(title: str, table: str) -> str:
    """A table that scrolls by itself where it is too wide for the page."""
    about = f'role="region" aria-label="Table: {escape(title)}" tabindex="0"'
    return f'<div class="scroll" {about}>\n{table}</div>\n'


def _section(heading: str, content: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{content}</section>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>\n'
