"""Reports of `make compare`: three forms of the same figures, stories cut exactly, a page alone."""

import json
import re
import shutil
import subprocess
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from compare import page, story, summary
from compare.columns import as_good_as_best, same_line, tables
from compare.result import Result
from compare.story import pieces
from compare.table import markdown, terminal
from slm.tokens.bpe import encoding_of
from slm.tokens.from_file import FileTokenizer
from slm.tokens.published import load_encoding
from tests.helpers import NASTY
from tests.tokens.trained import KINDS

GPT2 = tiktoken.get_encoding("gpt2")
# ends tokens inside a curly quote and inside an emoji
SMALL = encoding_of(
    [(b"t", b"h"), (b"th", b"e"), (b" ", b"the"), (b" ", b"\xe2"), (b"\xf0", b"\x9f")]
)
ENDS = st.sampled_from(["none", "append", "prepend"])
NAMES = ("lengths", "ranks", "bytes", "curves")
STORY = "“Hi 🐉,” she said.\n\n<script>alert(1)</script> & a\ttab"


def split(tokens: int, **changes: object) -> dict:
    spread = {"mean": tokens / 3, "p50": 7, "p90": 8, "p99": 9, "longest": 1234}
    about = {"documents": 3, "empty_documents": 1, "tokens": tokens, "text_bytes": 9000}
    about |= {
        "bin_bytes": 2 * tokens,
        "bytes_per_token": 9000 / tokens,
        "tokens_per_document": spread,
    }
    about |= {"tokens_per_word": None, "vocabulary_share": 0.25, "rare_ids": 7, "rank_slope": -1.0}
    about |= {"entropy_bits_per_token": 8.0, "entropy_bits_per_byte": 2.0}
    return {**about, "windows_across_borders": 0.5, **changes}


def trained(*bits: float) -> dict:
    runs = [{"seed": i, "bits_per_byte": each, "seconds": 1.0} for i, each in enumerate(bits)]
    mean = {"mean": sum(bits) / len(bits), "low": min(bits), "high": max(bits)}
    parameters = {"embeddings": 256, "others": 4096}
    about = {"parameters": parameters, "steps": 10, "tokens": 640, "bytes": 2_500_000}
    return {**about, "runs": runs, "bits_per_byte": mean}


def variant(label: str, tokens: int, training: dict | None = None, **about: object) -> Result:
    size = about.pop("vocab_size", 50257)
    metrics = {"vocab_size": size, "validation": split(tokens // 9), "train": split(tokens)}
    name, commit = f"sample-{len(label)}", f"{len(label):040x}"
    whole = {"encoding": GPT2, "end_of_text": "none", **about}
    return Result(label, name, commit, metrics=metrics, training=training, **whole)


def three() -> list[Result]:
    return [
        variant("gpt2", 3000, trained(1.0, 1.2)),
        variant("gpt2, end of text appended", 3003, trained(1.3, 1.5), end_of_text="append"),
        variant("a|b <i>", 9000, trained(1.2, 1.4), encoding=SMALL, vocab_size=262),
    ]


def picture() -> bytes:
    """As matplotlib writes them: a prolog, metadata that name addresses, ids that are used."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"""<?xml version="1.0"?><!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://a.b">
<svg {names} width="9pt" viewBox="0 0 9 9" version="1.1">
<metadata><a xmlns="http://purl.org" about="http://purl.org/x"/></metadata>
<defs><style type="text/css">*{{stroke-linejoin: round}}</style><path id="p" d="M 0 0 L 9 9"/>
<clipPath id="c"><use xlink:href="#p"/></clipPath></defs><!-- made by hand -->
<g clip-path="url(#c)" style="fill: url(#c)"><use xlink:href="#p" style="stroke: #000000"/></g>
</svg>""".encode()


def whole(found: list[Result] | None = None, text: str = STORY) -> str:
    pictures = {name: picture() for name in NAMES}
    return page.page("sample", found or three(), text, pictures, "Some GPU").decode()


class Reader(HTMLParser):
    """The tags of a page with their attributes, and the text of the stories in it."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags, self.stories, self.inside = [], [], False
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if dict(attrs).get("class") == "story":
            self.stories.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "p"

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.stories[-1] += data

    def all(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.tags if name in attrs]


# --- figures ---


def test_a_figure_that_differs_is_a_column_and_one_that_does_not_is_said_once():
    train, validation, training = tables(three())
    headings = [column.heading for column in train.columns[2:]]
    assert headings == ["tokens", "bin size, MB", "bytes per token", "tokens per document, mean"]
    assert "documents 3; empty documents 1; text, bytes 9,000" in same_line(train)
    assert [column.heading for column in train.columns[:2]] == ["vocabulary, ids", "end of text"]
    assert validation.title == "validation split" and "seeds 2" in same_line(training)


def test_of_one_variant_all_figures_are_columns():
    (table, *_) = tables(three()[:1])
    cells = {heading: of for heading, of, _ in table.columns}
    assert len(cells) == 20 and same_line(table) == ""
    assert cells["tokens"] == ("3,000",) and cells["tokens per word"] == ("-",)
    assert cells["vocabulary used"] == ("25.0 %",) and cells["bytes per token"] == ("3.00",)


def test_equal_variants_are_the_same_in_all_and_have_no_columns():
    twice = [three()[0]._replace(training=None)] * 2
    assert all(markdown(table) == "" for table in tables(twice))
    assert "tokens 3,000" in terminal(twice) and "All 2" in summary.lead("sample", twice)


def test_the_three_forms_hold_the_same_cells():
    printed, drawn, results = terminal(three(), 100), whole(), three()
    for table in tables(results):
        written = markdown(table)
        for heading, cells, _ in table.columns:
            assert re.search(rf"^{re.escape(heading)} +{' +'.join(cells)}$", printed, re.MULTILINE)
            assert f"| {heading} | {' | '.join(cells)} |" in written.replace("**", "")
            rows = [re.sub("</?b>", "", row) for row in drawn.splitlines() if f">{heading}<" in row]
            assert any("".join(f"<td>{cell}</td>" for cell in cells) in row for row in rows)


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_lines_in_a_terminal_keep_to_its_width_and_lose_no_variant(width):
    many = [variant(f"variant number {i}", 1000 * i) for i in range(1, 12)]
    lines = terminal(many, width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum(len(line.split()) - 1 for line in lines if line.startswith("tokens  ")) == 22


def test_bold_are_the_lowest_mean_and_those_whose_range_overlaps_with_its_range():
    assert as_good_as_best(three()) == {0, 2}
    training = markdown(tables(three())[2])
    assert "| **1.1000** | 1.4000 | **1.3000** |" in training
    assert "<td><b>1.1000</b></td><td>1.4000</td><td><b>1.3000</b></td>" in whole()


def test_a_variant_that_was_not_trained_has_dashes_and_none_trained_has_no_table():
    half = [three()[0], three()[1]._replace(training=None)]
    assert tables(half)[2].columns[0].cells == ("1.1000", "-")
    assert len(tables([one._replace(training=None) for one in half])) == 2


def test_the_first_sentences_say_what_the_numbers_say():
    said = summary.lead("sample", three())
    assert "“gpt2” makes the fewest tokens, 3,000 (3.00 bytes per token)" in said
    assert "“a|b <i>” the most, 9,000 (1.00 bytes per token)" in said
    assert (
        "“gpt2” has the lowest validation bits per byte, 1.1000 (1.0000–1.2000 over 2 seeds)"
        in said
    )
    assert "The range of “a|b <i>” overlaps with it" in said
    alone = [variant("x", 10, trained(1.5)), variant("y", 9, trained(1.6))]
    assert "1.5000. That is one seed" in summary.lead("sample", alone)
    assert "“x” has 1.5000 validation bits per byte." in summary.lead("sample", alone[:1])


def test_compare_md_has_all_and_is_the_same_each_time():
    made = summary.markdown("sample", three(), NAMES, "Some GPU")
    assert made == summary.markdown("sample", three(), NAMES, "Some GPU")
    assert all(f"]({name}.svg)" in made for name in NAMES) and "on Some GPU, with 2 seeds" in made
    assert "| a\\|b <i> | sample-7 |" in made and "dvc exp" not in made
    assert all(markdown(table) in made for table in tables(three()))


# --- one story ---


@given(st.text(), st.sampled_from([GPT2, SMALL]), ENDS)
def test_pieces_give_the_text_back_and_the_ids_of_the_bins(text, encoding, end):
    made = story.pieces(encoding, text, end)
    ids, eot = encoding.encode_ordinary(text), [encoding.eot_token]
    assert "".join(piece.text for piece in made) == text
    assert [i for piece in made for i in piece.ids] == (
        eot * (end == "prepend") + ids + eot * (end == "append")
    )
    assert all(piece.text or piece.end_of_text for piece in made)


@given(st.one_of(st.sampled_from(NASTY), st.text()), ENDS)
def test_a_page_shows_the_text_itself_but_for_control_characters(text, end):
    shown = Reader(f'<p class="story">{story.html(story.pieces(SMALL, text, end))}</p>').stories
    assert shown == [text.translate(story.CONTROLS)]


def test_tokens_that_meet_inside_a_character_share_a_piece():
    made = [(piece.text, len(piece.ids)) for piece in story.pieces(SMALL, "a “🐉 the", "append")]
    assert made == [("a", 1), (" “", 3), ("🐉", 3), (" the", 1), ("", 1)]
    assert 'data-tokens="3"' in story.html(story.pieces(SMALL, "🐉", "none"))


def test_a_story_of_moderate_length_is_chosen_and_a_long_one_ends_after_per_word():
    moderate = "b" * 400
    assert story.choose(["short", "w " * 500, moderate, "c" * 400]) == moderate
    assert story.choose(["short", "words " * 500]) == ("words " * 100)[:-1]
    assert story.choose(["x" * 900]) == "x" * 600 and story.choose(["", "short"]) == "short"
    assert story.choose([]) == ""


# --- the page ---


def test_a_page_refers_to_nothing_outside_itself():
    content = whole()
    for tag, attrs in Reader(content).tags:
        assert tag not in {"script", "link", "base", "iframe", "img", "object", "embed"}
        assert not {"src", "srcset", "style-src", "action", "background", "onload"} & set(attrs)
        assert all(value.startswith("#") for key, value in attrs.items() if key.endswith("href"))
    assert re.findall(r"https?:|//[a-z]|@import|url\((?!#)", content) == []
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in content


def test_ids_are_unique_and_every_reference_has_its_target():
    content = whole()
    read = Reader(content)
    ids, used = read.all("id"), [*read.all("href"), *re.findall(r"url\((#.*?)\)", content)]
    assert len(ids) == len(set(ids)) == 3 * len(NAMES) and len(used) == 4 * len(NAMES)
    assert {target[1:] for target in used} <= set(ids)
    assert content.count("#picture-ranks { *{stroke-linejoin: round} }") == 1
    assert "purl" not in content and "made by hand" not in content


def test_a_page_has_every_table_picture_and_story_with_words_for_each():
    read, content = Reader(whole()), whole()
    tags = [tag for tag, _ in read.tags]
    assert tags.count("table") == 4 and tags.count("figcaption") == tags.count("svg") == 4
    labels = [attrs["aria-label"] for tag, attrs in read.tags if tag == "svg"]
    assert labels == [summary.caption(name) for name in NAMES]
    assert read.stories == [STORY] * 3 and len(set(tags) & {"h1", "title", "main"}) == 3
    assert "a|b &lt;i&gt;" in content and "<i>" not in content and "<script" not in content


def test_a_page_begins_with_the_story_and_ends_with_pictures_and_names():
    said = re.findall("<h2>(.*?)</h2>", whole())
    assert said == ["One story", "What differs", "Training", "Pictures", "The variants"]
    content = whole()
    assert content.index("makes the fewest tokens") < content.index("One story")
    assert content.index(">train split<") < content.index("<details>")
    assert content.index("<details>") < content.index(">validation split<")


def test_nothing_stands_alone_below_what_stands_side_by_side():
    assert [page.columns(number) for number in (1, 2, 3, 4)] == [1, 2, 3, 2]
    assert all(number % page.columns(number) != 1 for number in range(2, 13))
    assert '<div class="pictures columns-2">' in whole()  # four of them
    assert '<div class="stories columns-3">' in whole()


def test_the_same_input_gives_the_same_page_and_parts_may_be_missing():
    assert whole() == whole()
    bare = page.page("sample", [three()[0]._replace(training=None)], "", {}, None).decode()
    assert all(heading not in bare for heading in ("Training", "Pictures", "One story"))


# --- in a browser ---

QUIET = ("no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
         "disable-background-networking", "disable-component-update")  # fmt: skip
WIDTHS = (320, 390, 1280)
SAY = """<!doctype html><title>-</title><script>
function say(frame) {
  const root = frame.contentDocument.documentElement;
  document.title += " " + frame.width + ":" + (root.scrollWidth - root.clientWidth);
}
</script>"""
needs_chromium = pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not on PATH")


def opened(folder: Path, content: str) -> tuple[str, list[str]]:
    """The DOM of a page in Chromium, and what the page asked a network for."""
    (folder / "opened.html").write_text(content, encoding="utf-8")
    own = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={folder / 'net.json'}")
    nowhere = "--host-resolver-rules=MAP * ~NOTFOUND"  # Chromium's own requests end here, too
    flags = ["--headless", *(f"--{name}" for name in QUIET), "--allow-file-access-from-files"]
    flags += [*own, nowhere, "--dump-dom", (folder / "opened.html").as_uri()]
    done = subprocess.run(
        ["chromium", *flags], capture_output=True, text=True, check=True, timeout=60
    )
    events = json.loads((folder / "net.json").read_bytes())["events"]
    asked = [event["params"] for event in events if "initiator" in event.get("params", {})]
    return done.stdout, [one["url"] for one in asked if one["initiator"] != "not an origin"]


@needs_chromium
def test_a_browser_shows_all_of_a_page_and_asks_no_network(tmp_path):
    content = whole()
    dom, asked = opened(tmp_path, content)
    assert asked == []
    shown, written = Reader(dom), Reader(content)
    assert [tag for tag, _ in shown.tags] == [tag for tag, _ in written.tags]
    assert shown.stories == written.stories


@needs_chromium
def test_a_request_of_a_page_would_be_seen(tmp_path):
    content = re.sub("<meta http-equiv.*", '<img src="http://127.0.0.1:9/x.png">', whole())
    assert opened(tmp_path, content)[1] == ["http://127.0.0.1:9/x.png"]


@needs_chromium
def test_all_parts_of_a_page_end_where_it_ends(tmp_path):
    (tmp_path / "page.html").write_text(whole(), encoding="utf-8")
    ask = """<iframe src="page.html" width="1280" onload="ask(this)"></iframe><script>
function ask(frame) {
  const right = (of) => [...frame.contentDocument.querySelectorAll(of)]
    .map((element) => Math.round(element.getBoundingClientRect().right));
  const parts = [".lead > p", ".story", "table", ".remarks > p", ".beside > *", "figure"];
  document.title = parts.map((part) => Math.max(...right(part))).join(" ");
}</script>"""
    dom, _ = opened(tmp_path, "<!doctype html><title>-</title>" + ask)
    said = re.search("<title>(.*?)</title>", dom)[1].split()
    assert len(said) == 6 and len(set(said)) == 1 and int(said[0]) > 1200, said


@needs_chromium
def test_a_page_is_no_wider_than_its_window(tmp_path):
    long = [variant("a long label " * 3 + str(i), 1000 + i, trained(1.0)) for i in range(9)]
    (tmp_path / "page.html").write_text(whole(long, "word " * 60 + "x" * 300), encoding="utf-8")
    frame = '<iframe src="page.html" width="{}" onload="say(this)"></iframe>'.format
    dom, _ = opened(tmp_path, SAY + "".join(map(frame, WIDTHS)))
    _, *said = re.search("<title>(.*?)</title>", dom)[1].split()
    assert sorted(said) == sorted(f"{width}:0" for width in WIDTHS)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text("abABé中😊 \n“½ﬁ", max_size=40))
@settings(max_examples=60, deadline=None)
def test_the_pieces_of_a_tokenizer_json_are_the_text_and_hold_its_ids(kind, text):
    tokenizer = from_file(kind)
    made = pieces(tokenizer, text, "none")
    assert "".join(piece.text for piece in made) == text
    assert [i for piece in made for i in piece.ids] == tokenizer.encode_ordinary(text) * bool(text)


@cache
def from_file(kind: str) -> FileTokenizer:
    write, end = KINDS[kind]
    return FileTokenizer(write().encode(), end)


def test_end_of_text_of_any_vocabulary_is_a_piece():
    assert pieces(load_encoding("llama3"), "a", "append")[-1].ids == (128_001,)
    assert pieces(load_encoding("bytes"), "a", "prepend")[0].ids == (256,)
    assert pieces(from_file("Unigram"), "a", "append")[-1].ids == (1,)


def test_what_a_wide_vocabulary_or_a_lossy_one_costs_is_said():
    made = [variant("gpt2", 3000), variant("big", 2000), variant("lossy", 2000)]
    made[1].metrics["vocab_size"] = 100_277
    made[2] = made[2]._replace(lossy=7)
    wide, lossy = summary.costs(made)
    assert wide == (
        "“big” takes 4 bytes per token in the bins, not 2, with more ids than uint16 holds "
        "(65,536): 0.00 MB of train where uint16 would take half."
    )
    assert (
        lossy == "“lossy” loses some of the text of 7 documents of the source, all splits together."
    )
    assert wide in summary.lead("sample", made) and lossy in summary.lead("sample", made)
    assert [*summary.costs(made[:1])] == []
