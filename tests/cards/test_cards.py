"""A card says what the manifest says, and both its readers take it."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import yaml

from slm.bins.manifest import Manifest, read_manifest
from slm.cards.about import tokenizer
from slm.cards.croissant import croissant
from slm.cards.readme import readme
from slm.text.corpus import make_raw
from tests.workspace import script

HUB = {"kind": "hub", "path": "owner/name", "revision": "f" * 40}


@pytest.fixture(scope="module")
def bins(small_sample: Path) -> Path:
    return small_sample / "data/sample/bins"


def said(bins: Path, **source: str) -> Manifest:
    """The manifest of the sample, as if its text were of another source."""
    manifest = read_manifest(bins)
    return {**manifest, "dataset": {**manifest["dataset"], **source}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"license": "MIT", "cite": "Somebody, A Book, 2024"}, 2),
        ({**HUB, "license": "ODC-By-1.0"}, 3),
        ({"kind": "files"}, 4),
    ],
)
def test_mlcroissant_takes_the_file_and_misses_only_what_nobody_knows(
    bins, tmp_path, source, expected
):
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed here")
    path = tmp_path / "croissant.json"
    path.write_bytes(croissant(bins, said(bins, **source)))
    dataset = mlcroissant.Dataset(jsonld=path)  # raises where it is no Croissant
    issues = dataset.metadata.ctx.issues
    assert not issues.errors and len(issues.warnings) == expected, issues.report()
    known = {file.name: file for file in dataset.metadata.distribution}
    assert sorted(known) == sorted(path.name for path in bins.iterdir())
    for name, file in known.items():
        content = (bins / name).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.content_size == f"{len(content)} B"


def test_the_file_says_license_page_and_how_to_cite(bins):
    about = {**HUB, "license": "MIT", "cite": "Somebody, 2024"}
    found = json.loads(croissant(bins, said(bins, **about)))
    assert (found["license"], found["citeAs"]) == ("MIT", "Somebody, 2024")
    assert found["url"] == "https://huggingface.co/datasets/owner/name"
    assert found["identifier"] == read_manifest(bins)["sha256"]


@pytest.mark.parametrize(
    ("source", "front"),
    [
        ({}, {}),
        (
            {**HUB, "license": "ODC-By-1.0"},
            {"license": "odc-by", "source_datasets": ["owner/name"]},
        ),
        ({"kind": "files", "license": "MIT"}, {"license": "mit"}),
    ],
)
def test_the_hub_reads_the_front_of_the_card(bins, tmp_path, source, front):
    from huggingface_hub import DatasetCard

    path = tmp_path / "README.md"
    path.write_bytes(readme(said(bins, **source)))
    found = DatasetCard.load(path).data.to_dict()
    assert found.pop("size_categories") == ["n<1K"] and found.pop("pretty_name").startswith(
        "sample"
    )
    assert found.pop("tags") == ["tokenized", "pretraining"]
    assert found == {"task_categories": ["text-generation"], **front}


def test_the_card_s_figures_are_the_manifest_s_and_its_code_runs(bins):
    manifest, text = read_manifest(bins), readme(read_manifest(bins)).decode()
    for name, split in manifest["splits"].items():
        cells = [f"{split[key]:,}" for key in ("documents", "tokens", "text_bytes")]
        assert f"| {name} | {' | '.join(cells)} |" in text
    assert manifest["sha256"] in text and "License of the text: not stated." in text
    code = text.split("```python\n")[1].split("```")[0].replace('("', f'("{bins}/')
    names: dict = {}
    exec(code, names)  # noqa: S102 - the code of the card is what is tested
    assert names["docs"][-1, 0] == len(names["ids"]) == manifest["splits"]["train"]["tokens"]


def test_license_and_citation_travel_from_params_yaml_into_the_source(tmp_path):
    for folder in ("source", "raw"):
        (tmp_path / folder).mkdir()
    entry = {"kind": "generated", "seed": 1, "documents": {"train": 3}}
    plain = make_raw("x", entry, tmp_path / "source", tmp_path / "raw")
    assert not {"license", "cite"} & plain.keys()
    (tmp_path / "more").mkdir()
    about = {"license": "MIT", "cite": "Somebody, 2024"}
    made = make_raw("x", {**entry, **about}, tmp_path / "source", tmp_path / "more")
    assert made == {**plain, **about}


def test_make_card_writes_both_and_asks_for_a_license(small_sample, tmp_path):
    copy = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    lines = script(copy, "make_card").splitlines()
    assert lines[-3:-1] == ["wrote reports/sample/README.md", "wrote reports/sample/croissant.json"]
    assert lines[-1] == "no license is known; say it as `license:` of sample in params.yaml"
    front = (copy / "reports/sample/README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(front)["task_categories"] == ["text-generation"]


@pytest.mark.parametrize("seen", [True, False], ids=["dvc sees it", "dvc does not"])
def test_corrupt_bins_are_built_again_or_get_no_card(small_sample, tmp_path, seen):
    copy = shutil.copytree(small_sample, tmp_path / "copy", symlinks=True)
    script(copy, "make_data")
    path = copy / "data/sample/bins/train.bin"
    content, times = path.read_bytes(), path.stat()
    with path.open("r+b") as file:
        file.write(bytes([content[0] ^ 1]))
    if seen:
        assert "wrote reports/sample/croissant.json" in script(copy, "make_card")
        assert path.read_bytes() == content
    else:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        said = script(copy, "make_card", fails=True)
        assert "train.bin" in said and said.endswith("`make verify FIX=1 DATASET=sample`\n")
        assert not (copy / "reports/sample/croissant.json").exists()


def test_the_tokenizer_is_named_with_its_license_its_special_tokens_and_what_it_loses():
    about = {"encoding": "x", "vocab_size": 1234, "end_of_text": None}
    manifest: dict = {"tokenizer": about, "end_of_text": "none"}
    plain = ["Tokenizer: x, 1,234 ids, no end-of-text; no id between documents"]
    assert tokenizer(manifest) == plain
    about |= {"model": "WordPiece", "source": "a/b@0f", "end_of_text": 7, "license": "L"}
    about["special_tokens"] = ["<|a|>", "<|b|>"]
    manifest["dataset"] = {
        "files": {"train": [{"rows": 1000}, {"rows": 20}], "test": [{"rows": 9}]}
    }
    manifest["lossy_documents"] = {"train": 11, "test": 0}
    assert tokenizer(manifest) == [
        "Tokenizer: x (WordPiece) of a/b@0f, 1,234 ids, end-of-text 7; no id between documents",
        "Special tokens: <|a|>, <|b|>",
        "License of its ranks: L",
        "Lossy: their ids do not give back the text of 11 of 1,020 train documents of the source",
        "Lossless on all 9 test documents of the source",
    ]
