"""One page about a comparison: one file of HTML, with no request to any network.

What was found comes first, then one story as each variant cuts it, the figures that differ, and
pictures. In: what is known of each variant, in order, a story, pictures as SVG, and the device
that models were trained on. Out: the bytes of the file, from the template page.html: style sheet
and pictures are in it, it has no script, and a Content-Security-Policy forbids the browser to fetch
anything. Ids of each picture begin with its name, so that pictures do not share them. All text is
escaped. The same input gives the same bytes.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from compare import story as stories
from compare import summary
from compare.columns import same_line, tables
from compare.result import Result

HERE = Path(__file__).parent


def page(
    dataset: str,
    results: list[Result],
    story: str,
    pictures: dict[str, bytes],
    training_device: str | None,
) -> bytes:
    """The page as UTF-8: `pictures` are SVG by name, `story` a text that is shown cut into tokens.

    Raises xml.etree.ElementTree.ParseError where a picture is not well-formed.
    """
    made = tables(results)
    content = {
        "dataset": dataset,
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "lead": summary.findings(dataset, results),
        "tables": [table for table in made if table.title != "training"],
        "training": next((table for table in made if table.title == "training"), None),
        "trained_on": summary.trained_on(results, training_device),
        "pictures": {name: inlined(name, picture) for name, picture in pictures.items()},
        "stories": [_cut(result, story) for result in results] if story else [],
        "names": summary.names(results),
    }
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    template = environment.get_template(
        "page.html", globals={"same_line": same_line, "columns": columns}
    )
    return (template.render(content, notes=summary).strip() + "\n").encode()


def columns(number: int) -> int:
    """How many of so many things stand beside each other on a wide screen, so that none is alone
    in the last row: 3 or 2, 4 where neither does it, 1 of one."""
    return min(number, next((n for n in (3, 2, 4) if number % n != 1), 3))


def _cut(result: Result, story: str) -> dict[str, object]:
    pieces = stories.pieces(result.encoding, story, result.end_of_text)
    tokens = sum(len(piece.ids) for piece in pieces)
    shown = {"label": result.label, "tokens": tokens, "ratio": len(story.encode()) / tokens}
    return {**shown, "html": stories.html(pieces)}


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
    root.attrib |= {"preserveAspectRatio": "xMidYMin"}  # where a row of pictures is higher than it
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
