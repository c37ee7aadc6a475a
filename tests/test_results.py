"""The tables of results in the documentation are the kept results."""

import json
import re
from math import prod
from statistics import mean, median

from benchmark import scaling
from benchmark.batches.steps import GRAPHS, NAMES
from tests.pages import PAGES
from tests.workspace import ROOT

BATCHES, TRAININGS = PAGES["docs/benchmarks.md"], PAGES["docs/comparing.md"]
ROWS, KEPT = PAGES["docs/benchmarks-rows.md"], ROOT / "benchmark/orders/results"


def test_the_tables_of_batches_and_steps_are_the_kept_results():
    result = json.loads((ROOT / "benchmark/results/nvidia-h200.json").read_text())
    for shape, figures in result["batches"].items():
        of = ("notebook", "dataloader", "host", "device", "graph")
        cells = [brief(figures[name]["us"]) for name in of]
        cells += [brief(figures[name]["times"]) for name in ("device", "graph")]
        cells += [
            ", ".join(f"{100 * figures[name]['of_copy']:.1f}" for name in ("device", "graph"))
        ]
        assert f"| {shape.replace('x', ' × ')} | {' | '.join(cells)} |" in BATCHES
    rows = re.findall(r"^\| (\d+) × (\d+) \|", BATCHES, re.MULTILINE)
    assert len(rows) == len(result["batches"])
    assert rows == sorted(rows, key=lambda shape: prod(map(int, shape))), "by tokens per batch"
    for run, figures in result["steps"].items():
        cells = [cell(name, figures[name]) for name in (*NAMES, *GRAPHS)]
        name = run.replace("x", " × ").replace("M ", "M, ")
        assert f"| {name} | {cell('fixed', figures['fixed'])} | {' | '.join(cells)} |" in BATCHES
    cpu = json.loads((ROOT / "benchmark/results/amd-epyc.json").read_text())
    one, other = (cpu["batches"]["64x256"][name]["us"] for name in ("notebook", "host"))
    assert f"the notebook {one:,.0f} µs and host placement {other:.0f} µs" in BATCHES
    sha256 = result["digest"]["sha256"]
    assert cpu["digest"] == result["digest"] and f"`{sha256[:8]}…{sha256[-9:]}`" in BATCHES


def test_the_table_of_trainings_is_the_kept_result():
    (path,) = (ROOT / "reports/sample-200000/training").glob("*.json")
    result = json.loads(path.read_text())
    known = {(v["encoding"].rsplit("-", 1)[0], v["end_of_text"]): v for v in result["variants"]}
    order = [("gpt2", "none"), ("gpt2", "append"), ("bpe-1024", "none"), ("bpe-4096", "none")]
    trained = [known[key] for key in order]
    bits = [of["bits_per_byte"] for of in trained]
    rows = {
        "validation bits per byte, mean": [f"{of['mean']:.4f}" for of in bits],
        "lowest–highest of the seeds": [f"{of['low']:.4f}–{of['high']:.4f}" for of in bits],
        "parameters, embeddings": [f"{of['parameters']['embeddings']:,}" for of in trained],
        "parameters, others": [f"{of['parameters']['others']:,}" for of in trained],
        "steps": [f"{of['steps']:,}" for of in trained],
        "seconds of training, mean": [
            f"{mean(r['seconds'] for r in of['runs']):.1f}" for of in trained
        ],
    }
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in TRAININGS
    assert f"On one {result['device']} (" in TRAININGS
    settings = result["settings"]
    assert f"`bytes: {settings['bytes']}`, `batch_size: {settings['batch_size']}`" in TRAININGS
    trained_here = [of["low"] for of in bits[2:]]
    assert max(of["high"] for of in bits[:2]) < min(trained_here), "gpt2 ends below the trained"
    for one, other in ((bits[0], bits[1]), (bits[2], bits[3])):
        assert one["low"] < other["high"] and other["low"] < one["high"], "not to be told apart"


def test_the_table_of_scaling_is_what_its_script_prints(capsys):
    scaling.main()
    assert capsys.readouterr().out in PAGES["docs/scaling.md"]


def brief(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def cell(name: str, found: dict) -> str:
    added = "" if name.endswith("fixed") else f" ({100 * (found['ratio'] - 1):+.1f} %)"
    return f"{found['ms']:.2f}{added}"


def test_the_readme_s_figures_are_those_of_the_pages():
    result = json.loads((ROOT / "benchmark/results/nvidia-h200.json").read_text())
    batch, readme = result["batches"]["64x1024"], PAGES["README.md"]
    assert f"takes {brief(batch['graph']['us'])} µs in a CUDA graph" in readme
    assert f"stacks slices, takes {brief(batch['notebook']['us'])} µs" in readme
    assert "take 8.0 s: per document 75 times as fast" in readme
    assert "| tokenize + bins | 2,140,916 | 8.01 (" in PAGES["docs/benchmarks-data.md"]
    assert "a 75th of the recipe's time" in PAGES["docs/benchmarks-data.md"]


def test_the_tables_of_rows_are_the_kept_results():
    gpu = json.loads((KEPT / "rows-nvidia-h200.json").read_text())["shapes"]
    for name in gpu["64x256"]:
        of = [gpu[shape][name] for shape in ("64x256", "64x1024", "12x1024", "512x1024")]
        cells = [f"{each['graph']['us']:.2f} ({each['ratio']:.2f})" for each in of]
        assert f"| {name} | {' | '.join(cells)} |" in ROWS
    cpu = json.loads((KEPT / "rows-amd-epyc.json").read_text())["shapes"]["64x256"]
    us = {name: brief(each["us"]) for name, each in cpu.items()}
    assert f"`shuffled` {us['shuffled']} µs, with documents {us['shuffled, documents']}," in ROWS
    for name, called in (("packed", "`packed`"), ("mixture, shuffled", "a mixture")):
        assert f"{called} {us[name]} ({cpu[name]['ratio']:.1f} times)" in ROWS
    assert f"one of packed rows {us['mixture, packed']}." in ROWS


def test_what_rows_do_to_a_model_is_the_kept_result():
    arms = json.loads((KEPT / "training-nvidia-h200.json").read_text())["arms"]
    documents = {name: [run["documents"] for run in runs] for name, runs in arms.items()}
    for name, runs in arms.items():
        bits = [[run["windows"] for run in runs], documents[name]]
        cells = [f"{mean(each):.4f} ({min(each):.4f} to {max(each):.4f})" for each in bits]
        ms = f"{median(run['ms'] for run in runs):.2f}"
        assert f"| {name} | {' | '.join(cells)} | {ms} |" in ROWS
    base = mean(documents["shuffled"])
    packed, masked = (
        f"−{100 * (1 - mean(documents[name]) / base):.1f} %" for name in ("packed", "packed, masks")
    )
    assert f"{packed} with packed rows, {masked} with masks, too" in ROWS
    spread = max(max(bits) - min(bits) for bits in documents.values())
    assert f"differ by at most {spread:.4f}." in ROWS
    assert max(documents["packed, masks"]) < min(documents["packed"]) < min(documents["shuffled"])
