"""The pictures of the benchmark: drawn from any result, and their titles are what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

from benchmark.batches import steps_picture, throughput_picture
from benchmark.batches.pictures import draw, picture

pytestmark = pytest.mark.slow  # many drawings

ROOT = Path(__file__).parents[2]
LOADERS = {"notebook": 2000.0, "dataloader": 1000.0, "host": 50.0, "device": 20.0, "graph": 2.0}
RATIOS = {"fixed": 1.0, "notebook": 1.33, "dataloader": 1.2, "host": 1.04, "device": 1.011}
IN_GRAPH = {"graph fixed": 1.0, "graph device": 0.99}


def loader(us: float, tokens: int) -> dict:
    return {"us": us, "tokens_s": tokens / us * 1e6, "times": LOADERS["notebook"] / us}


def step(ms: float, ratios: dict) -> dict:
    return {
        name: {"ms": ms * ratio, "ratio": ratio, "low": ratio - 0.01, "high": ratio + 0.01}
        for name, ratio in ratios.items()
    }


def on_gpu() -> dict:
    shapes = {"8x4": 32, "2x2": 4, "16x4": 64}
    return {
        "device": "Some GPU (40GB)",
        "kind": "cuda",
        "ceiling": {"copy_gb_s": 4300.0, "bus_gb_s": 54.0},
        "batches": {
            shape: {name: loader(us, tokens) for name, us in LOADERS.items()}
            for shape, tokens in shapes.items()
        },
        "steps": {
            "8M 32x128": {"parameters": 8, **step(1.6, RATIOS), **step(0.9, IN_GRAPH)},
            "124M 32x1024": {"parameters": 124, **step(60, dict.fromkeys(RATIOS, 1.0))},
        },
    }


def on_cpu() -> dict:
    result = on_gpu()
    result |= {"device": "A CPU", "kind": "cpu"}
    result["ceiling"]["bus_gb_s"] = None
    for section in ("batches", "steps"):
        for of in result[section].values():
            for name in [name for name in of if "graph" in name]:
                del of[name]
    return result


def without(result: dict, *loaders: str) -> dict:
    for of in (*result["batches"].values(), *result["steps"].values()):
        of |= dict.fromkeys(loaders)
    return result


def title(kind: ModuleType, result: dict) -> str:
    return kind.title(result).replace("\u00a0", " ")


def words(result: dict, section: str) -> list[str]:
    """What is written in the picture: its title, then the rest."""
    svg = picture(result, section).decode().replace("\u00a0", " ")
    title, *_ = re.findall(r"<title>(.*?)</title>", svg)
    return [title, *re.findall(r"<!-- (.*?) -->", svg)]


@pytest.mark.parametrize(
    "result",
    [
        on_gpu(),
        on_cpu(),
        without(on_gpu(), "dataloader", "host"),
        without(on_gpu(), "notebook", "device"),
        without(on_cpu(), "notebook", "dataloader", "host", "device"),
    ],
    ids=["gpu", "cpu", "no host", "no notebook", "no loader"],
)
def test_any_result_gives_two_pictures_and_the_same_bytes_again(result, tmp_path):
    paths = draw(result, tmp_path / "new")
    device = {"cuda": "some-gpu-40gb", "cpu": "a-cpu"}[result["kind"]]
    assert [path.name for path in paths] == [f"{device}-throughput.svg", f"{device}-steps.svg"]
    first = [path.read_bytes() for path in paths]
    for content in first:
        assert ElementTree.fromstring(content).tag.endswith("svg")  # noqa: S314 - our own
    assert [path.read_bytes() for path in draw(result, tmp_path / "new")] == first


def test_the_title_is_made_of_the_numbers_and_praises_nobody_who_lost():
    result = on_gpu()
    at = result["batches"]["8x4"]  # the middle one by tokens
    graph = ", in a CUDA graph 1,000 times"
    for us, said in (
        (20.0, "device placement is 100 times as fast as the notebook"),
        (800.0, "device placement is 2.5 times as fast as the notebook"),
        (2010.0, "device placement is as fast as the notebook"),
        (4000.0, "device placement is slower than the notebook, 0.5 times its rate"),
    ):
        at["device"] = loader(us, 32)
        assert title(throughput_picture, result) == f"at 8 × 4 {said}{graph}"
    at["graph"] = loader(4000.0, 32)
    assert title(throughput_picture, result).endswith(", in a CUDA graph 0.5 times")
    at["graph"] = None
    assert "graph" not in title(throughput_picture, result)
    at["device"] = None
    assert title(throughput_picture, result).startswith("at 8 × 4 host placement is 40 times")
    at["notebook"] = None
    assert "host placement gives 640 thousand tokens" in title(throughput_picture, result)


def test_shapes_stand_by_size_and_the_legend_as_its_lines_end():
    said = words(on_gpu(), "batches")
    sizes = [said.index(rows) for rows in ("2", "8", "16")]
    assert sizes == sorted(sizes)
    rows = ["copy 4,300 GB/s,", "bus 54 GB/s,", "device, in a", "device", "host", "DataLoader"]
    places = [said.index(row) for row in (*rows, "notebook")]
    assert places == sorted(places)


def test_the_steps_title_names_the_step_where_the_notebook_costs_most():
    result = on_gpu()
    said = "the notebook adds 33 % to a step of 8M parameters at 32 × 128, device placement 1.1 %"
    assert title(steps_picture, result) == said
    assert words(result, "steps")[0] == f"Some GPU (40GB): {said}"
    result["steps"]["124M 32x1024"] |= step(60, {"notebook": 1.5, "device": 0.98})
    said = title(steps_picture, result)
    assert "adds 50 % to a step of 124M" in said and "device placement −2.0 %" in said


def test_the_steps_title_claims_nothing_that_the_intervals_leave_open():
    result = on_gpu()
    of = result["steps"]["8M 32x128"]
    of["notebook"] |= {"low": 0.9, "high": 1.4}
    assert title(steps_picture, result).startswith("the notebook adds 33 %")  # ours is sure
    of["device"] |= {"low": 0.8}
    said = "less to a step of 8M parameters at 32 × 128 than this run can tell"
    assert title(steps_picture, result) == f"the notebook and device placement add {said}"
    result["steps"] = {"8M 32x128": of}
    of["notebook"] |= {"ratio": 0.9, "low": 0.8, "high": 0.95}  # quicker than none: noise as well
    assert title(steps_picture, result) == f"the notebook and device placement add {said}"


def test_figures_stand_in_the_pictures_with_their_ceilings():
    said = " ".join(words(on_gpu(), "batches"))
    assert "copy 4,300 GB/s, 18 bytes per token" in said
    assert "bus 54 GB/s, 2 bytes per token" in said
    assert not [line for line in words(on_cpu(), "batches") if line.startswith("bus")]
    said = words(on_gpu(), "steps")
    for figure in ("1.60 ms per step", "+33 %", "+20 %", "+4.0 %", "+1.1 %", "−1.0 %"):
        assert said.count(figure) == 1, figure


def test_a_model_whose_steps_no_loader_makes_longer_has_words_and_no_panel():
    result = on_gpu()
    said = words(result, "steps")
    assert said.count("notebook") == 1 and "no loader makes it longer (+0.0 %)" in said
    result["steps"]["124M 32x1024"]["host"] |= {"ratio": 1.02, "low": 1.01, "high": 1.03}
    said = words(result, "steps")
    assert said.count("notebook") == 2 and not [line for line in said if "no loader" in line]


def test_where_no_loader_makes_any_step_longer_every_model_has_its_panel():
    result = on_cpu()
    for step in result["steps"].values():
        for about in (step[name] for name in RATIOS):
            about |= {"ratio": 0.98, "low": 0.9, "high": 1.0}
    said = words(result, "steps")
    assert said.count("notebook") == 2 and said.count("−2.0 %") == 8


def test_a_section_that_is_not_there_is_not_drawn(tmp_path):
    result = on_gpu()
    del result["steps"]
    assert [path.name for path in draw(result, tmp_path)] == ["some-gpu-40gb-throughput.svg"]


def test_what_is_no_result_is_refused_in_one_line(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({"steps": 1}))
    for name in ("other.json", "none.json"):
        command = [sys.executable, "-m", "benchmark.batches.pictures", str(tmp_path / name)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.count("\n") == 1
        assert name in done.stderr and "make bench" in done.stderr
