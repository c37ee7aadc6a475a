"""The pictures of tokenizations: headlines follow the numbers, and what is written can be read."""

import re
from collections.abc import Callable
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from compare.pictures import draw as pictures
from compare.pictures import ranks as ranks_picture
from compare.pictures import titles
from slm.core.errors import UserError
from slm.core.files import to_json
from slm.stats.histograms import TABLES, byte_rows, length_rows, rank_rows, slope, to_csv

pytestmark = pytest.mark.slow  # many drawings

LABELS = ["gpt2", "gpt2, end of text appended", "bpe 257", "bpe 1,024", "a $x$ <b> & -- c", "“é”"]


def table(name: str, rows: list[tuple]) -> list[dict]:
    """These rows, written as CSV and read back."""
    content = to_csv(name, {"validation": rows[:1], "train": rows})
    return pictures.read_table(content, "train")


def split(lengths: list[int], ratio: float, counts: list[int]) -> tuple[dict, dict]:
    """The tables and the figures of documents of these lengths, with `ratio` bytes per token."""
    ordered, seen = np.sort(np.array(lengths, np.int64)), np.array(counts, np.int64)
    tokens = np.cumsum([0, *lengths])
    docs = np.stack([tokens, (tokens * ratio).astype(np.int64)], axis=1)
    rows = {"lengths": length_rows(ordered), "ranks": rank_rows(seen), "bytes": byte_rows(docs)}
    at = {f"p{n}": int(ordered[-(-len(ordered) * n // 100) - 1]) for n in (50, 99) if len(ordered)}
    figures = {
        "tokens_per_document": {**at, "longest": int(max(lengths, default=0))},
        "bytes_per_token": ratio if tokens[-1] else None,
        "rank_slope": slope(rows["ranks"]),
    }
    return {name: table(name, of) for name, of in rows.items()}, figures


@cache
def stories(scale: float) -> tuple[dict, dict]:
    """A split like one of stories: `scale` is how many bytes per token stands for."""
    random = np.random.default_rng(7)
    lengths = (random.lognormal(5.3, 0.4, 2000) * 4 / scale).astype(int).tolist()
    return split([*lengths, 20_000], scale, (10**6 / np.arange(1, 900 * scale)).astype(int))


def several(labels: list[str]) -> tuple[dict, dict]:
    """Tables by name and label, and figures by label."""
    made = {label: stories(4 - 0.5 * i) for i, label in enumerate(labels)}
    tables = {name: {label: of[name] for label, (of, _) in made.items()} for name in TABLES}
    return tables, {label: figures for label, (_, figures) in made.items()}


def trained(*bits: float) -> dict:
    """What training gave, with a seed for each of these bits per byte."""
    points = [10, 8, 6, 5, 4, 3, 2, 1, 0.5, 0]
    curves = [[[i * 1e6, 9.0 * i, end + 0.1 * p] for i, p in enumerate(points)] for end in bits]
    runs = [{"seed": i, "bits_per_byte": c[-1][2], "curve": c} for i, c in enumerate(curves)]
    mean = {"mean": sum(bits) / len(bits), "low": min(bits), "high": max(bits)}
    return {"runs": runs, "bits_per_byte": mean}


def drawings(labels: list[str]) -> dict[str, Callable[[], bytes]]:
    """Each picture of these labels."""
    tables, figures = several(labels)
    training = {label: trained(1 + 0.001 * i, 1.01) for i, label in enumerate(labels)}
    made = {name: (draw, tables[name], figures) for name, draw in pictures.TABLES.items()}
    made["curves"] = (pictures.curves, training, "Some GPU")
    return {name: lambda of=of: of[0](*of[1:]) for name, of in made.items()}


def words(svg: bytes) -> str:
    """What is written in a picture, lines put together: its title, then the rest."""
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    assert root.tag.endswith("svg")
    title = next(element.text for element in root.iter() if element.tag.endswith("title"))
    comments = re.findall(r"<!-- (.*?) -->", svg.decode())
    return " ".join([title, *comments]).replace("\u00a0", " ").replace("&amp;", "&")


@pytest.mark.parametrize("number", [1, 6])
def test_pictures_name_every_label_and_have_the_same_bytes_again(number):
    labels = LABELS[:number]
    first = {name: draw() for name, draw in drawings(labels).items()}
    for svg in first.values():
        said = words(svg).replace("- -", "--").replace("&lt;", "<").replace("&gt;", ">")
        assert all(label in said for label in labels)
    assert {name: draw() for name, draw in drawings(labels).items()} == first


def written(
    draw: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> tuple[Figure, list[Text]]:
    """The figure of a picture, and the texts that were drawn in it."""
    figures, texts, plain = [], [], Text.draw
    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
        draw()
        patch.setattr(Text, "draw", lambda text, at: texts.append(text) or plain(text, at))
        FigureCanvasAgg(figures[0]).draw()
    return figures[0], [text for text in texts if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("number", [1, 4, 6])
def test_no_word_lies_upon_another_or_beyond_the_edge(number, monkeypatch):
    for draw in drawings(LABELS[:number]).values():
        figure, texts = written(draw, monkeypatch)
        boxes = [(text.get_window_extent(), text.get_text()) for text in texts]
        for box, text in boxes:
            assert box.x0 >= 0 and box.y0 >= 0, text
            assert box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
        for (one, text), (other, also) in combinations(boxes, 2):
            assert not one.overlaps(other), (text, also)
        assert min(text.get_fontsize() for text in texts) >= 8


SLOPE = "Slope of counts of ids by rank"


def titled(name: str, **figures: dict) -> str:
    """The headline for these figures, with plain spaces."""
    said = getattr(titles, name)({label.replace("_", " "): of for label, of in figures.items()})
    return said.replace("\u00a0", " ")


def spread(p50: int) -> dict:
    return {"tokens_per_document": {"p50": p50}}


def test_headlines_of_one_label_have_its_figure():
    assert titled("lengths", x=spread(1216)) == "Tokens per document at the median: 1,216 with “x”"
    assert titled("ranks", x={"rank_slope": -1.13}) == f"{SLOPE}: −1.13 with “x”"
    assert (
        titled("bytes_per_token", x={"bytes_per_token": 3.85}) == "Bytes per token: 3.85 with “x”"
    )


def test_headlines_of_several_name_both_ends_whoever_they_are():
    said = "Tokens per document at the median: from 9 with “x” to 70 with “y z”"
    assert titled("lengths", x=spread(9), y_z=spread(70), w=spread(10)) == said
    said = f"{SLOPE}: from −1.40 with “y” to −0.90 with “x”"
    assert titled("ranks", x={"rank_slope": -0.9}, y={"rank_slope": -1.4}) == said
    for more, less in ("xy", "yx"):
        figures = {more: {"bytes_per_token": 4.1}, less: {"bytes_per_token": 3.9}}
        said = f"Bytes per token: from 3.90 with “{less}” to 4.10 with “{more}”"
        assert titled("bytes_per_token", **figures) == said


def test_labels_that_share_an_end_are_all_named_and_none_wins_where_all_are_alike():
    figures = {label: {"bytes_per_token": ratio} for label, ratio in {"a": 4, "b": 4.001}.items()}
    said = titled("bytes_per_token", **figures, c={"bytes_per_token": 3})
    assert said == "Bytes per token: from 3.00 with “c” to 4.00 with “a” and “b”"
    said = "Tokens per document at the median: 7 with “a” and “b”"
    assert titled("lengths", a=spread(7), b=spread(7)) == said
    figures = {"a": {"rank_slope": 0.0}, "b": {"rank_slope": -0.001}}
    assert titled("ranks", **figures) == f"{SLOPE}: 0.00 with “a” and “b”"


def test_the_headline_of_training_has_the_means_at_both_ends():
    said = "Validation bits per byte: from 1.1100 with “b” to 1.3050 with “a”"
    assert titles.curves({"a": trained(1.3, 1.31), "b": trained(1.1, 1.12)}) == said


def test_no_line_of_a_headline_ends_inside_a_short_label():
    said = titles.curves({"bpe 1,024": trained(1.3), "end of text appended, at last": trained(1.1)})
    assert "“bpe\u00a01,024”" in said and "“end of text appended, at last”" in said


@pytest.mark.parametrize("scale", [1, 0, 1e3])
def test_seconds_are_on_a_log_axis_from_the_first_point_that_is_drawn(scale, monkeypatch):
    slow, quick = trained(1.3), trained(1.1)
    for run in slow["runs"]:
        run["curve"] = [[read, scale * seconds, bits] for read, seconds, bits in run["curve"]]
    draw = lambda: pictures.curves({"slow": slow, "quick": quick}, None)  # noqa: E731
    figure, _ = written(draw, monkeypatch)
    over_bytes, over_seconds = figure.subfigs[1].axes
    assert over_bytes.get_xscale() == "linear" and over_seconds.get_xscale() == "log"
    left, right = over_seconds.get_xlim()
    assert 15 < left < 18 and 81 * max(scale, 1) < right < 100 * max(scale, 1)


def test_what_is_not_known_is_left_out_of_the_headline():
    assert titled("ranks", a={"rank_slope": None}, b={}) == f"{SLOPE}: none of “a” and “b”"
    figures = {"a": {}, "b": {"bytes_per_token": 2}}
    assert titled("bytes_per_token", **figures) == "Bytes per token: 2.00 with “b”"


ODD = {
    "nothing": split([], 1, [0]),
    "one": split([17], 3.3, [9, 8]),
    "equal": split([128] * 50, 4, [3200] * 2),
    "one id": split([5, 6], 1, [0, 11]),
    "empty": split([0, 0], 1, [0]),
    "outlier": split([10] * 995 + [50_000] * 5, 3, [900, 70, 1]),
}


@pytest.mark.parametrize("name", ODD)
def test_any_split_is_drawn(name):
    tables, figures = ODD[name]
    for of, draw in pictures.TABLES.items():
        assert words(draw({name: tables[of]}, {name: figures}))


def test_odd_splits_are_drawn_together_and_without_figures():
    for of, draw in pictures.TABLES.items():
        tables = {name: tables[of] for name, (tables, _) in ODD.items()}
        said = words(draw(tables, dict.fromkeys(ODD)))
        assert ("no tokens" if of == "ranks" else "no documents") in said


def test_documents_that_are_not_drawn_are_counted_and_the_longest_is_named():
    tables, figures = ODD["outlier"]
    said = words(pictures.lengths({"x": tables["lengths"]}, {"x": figures}))
    assert "not drawn: 5 that are longer, up to 50,000" in said


def test_the_dashed_line_has_the_slope_and_goes_through_the_mean():
    tables, figures = stories(4)
    panel = Figure().subplots()
    ranks_picture.panel(panel, {"x": tables["ranks"]}, "x", figures["rank_slope"])
    x, y = np.log(next(line for line in panel.lines if line.get_linestyle() == "--").get_data())
    own = np.log([[row["rank"], row["count"]] for row in tables["ranks"]]).mean(axis=0)
    assert np.allclose(np.diff(y) / np.diff(x), figures["rank_slope"])
    assert np.allclose([x.mean(), y.mean()], own)


def test_pictures_of_a_dataset_are_drawn_from_its_folder(tmp_path):
    metrics, out = tmp_path / "tales", tmp_path / "reports/new"
    tables, figures = stories(4)
    with pytest.raises(UserError, match=r"tokens\.json not found"):
        pictures.describe_pictures(metrics, out)
    metrics.mkdir()
    for name, rows in tables.items():
        content = to_csv(name, {"train": [tuple(row.values()) for row in rows]})
        (metrics / f"{name}.csv").write_bytes(content)
    (metrics / "tokens.json").write_bytes(to_json({"vocab_size": 9, "train": figures}))
    paths = pictures.describe_pictures(metrics, out)
    assert [path.name for path in paths] == ["lengths.svg", "ranks.svg", "bytes.svg"]
    first = [path.read_bytes() for path in paths]
    assert all("with “tales”" in words(content) for content in first)
    assert [path.read_bytes() for path in pictures.describe_pictures(metrics, out)] == first


def test_a_table_is_read_as_it_was_written():
    read = table("bytes", [("1.05", "1.10", 3), ("1.10", "1.15", 0)])
    assert read[0] == {"from": 1.05, "to": 1.1, "documents": 3}
    assert [*map(type, read[1].values())] == [float, float, int]
