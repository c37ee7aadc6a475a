"""Text of many gigabytes, streamed from a stand-in for S3: time, memory, requests and disk.

    python -m tests.text.streamed 20.4             # gigabytes of text; two need half a minute
    python -m tests.text.streamed 2 --compare      # and the same from files here: equal bins

In: a size. Many keys have one of four Parquet files of generated stories, so that the text is not
stored; the stages run as processes of their own. Out: a line a stage.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.data.measure import measure
from slm.text.stories import stories
from tests.s3_server import S3Server
from tests.workspace import ROOT

FILES, DOCUMENTS = 4, 400_000  # of each file: some 0.3 GB of text
STAGES = (
    "download", "audit", "select_documents", "make_vocabulary", "tokenize_text", "write_bins"
)  # fmt: skip


def main() -> None:
    """Build bins of so much text, and print what each stage took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("gigabytes", type=float)
    parser.add_argument("--compare", action="store_true", help="with bins of the same files here")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=ROOT / ".dvc/tmp") as name, S3Server() as s3:
        folder = Path(name)
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # this process must stay small
            files = pool.starmap(_file, [(folder / f"{n}.parquet", n) for n in range(FILES)])
        each = sum(size for _, size in files) / FILES
        keys = [f"{number:05d}.parquet" for number in range(round(args.gigabytes * 1e9 / each))]
        for number, key in enumerate(keys):
            s3.objects[f"text/{key}"] = files[number % FILES][0]
            s3.tags[f"text/{key}"] = f"tag-{number % FILES}"
        entries = {"far": "s3://text/*.parquet"} | ({"near": "*.parquet"} if args.compare else {})
        manifests = {}
        for dataset, pattern in entries.items():
            _prepare(folder, dataset, pattern)
            for number, key in enumerate(keys if dataset == "near" else ()):
                os.link(files[number % FILES][0], folder / f"data/near/source/{key}")
            manifests[dataset] = _build(folder, dataset, s3)
    text = manifests["far"]["splits"]["train"]["text_bytes"]
    print(f"{len(keys)} keys, {text / 1e9:.2f} GB of text")
    if args.compare:
        for manifest in manifests.values():
            del manifest["dataset"], manifest["sha256"]
        assert manifests["far"] == manifests["near"]
        print("bins are those of the same files here")


def _file(path: Path, number: int) -> tuple[Path, int]:
    """A file of stories, and its bytes of text."""
    texts = list(stories(number, "train", DOCUMENTS))
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", row_group_size=10_000)
    return path, sum(map(len, map(str.encode, texts)))


def _prepare(folder: Path, dataset: str, pattern: str) -> None:
    (folder / "data" / dataset / "source").mkdir(parents=True)
    params = (ROOT / "params.yaml").read_text(encoding="utf-8")
    entry = f'  {dataset}: {{kind: files, files: {{train: "{pattern}"}}}}\n'
    params = params.replace("datasets:\n", f"datasets:\n{entry}", 1)
    (folder / "params.yaml").write_text(params, encoding="utf-8")


def _build(folder: Path, dataset: str, s3: S3Server) -> dict:
    data = folder / "data" / dataset
    env = {**os.environ, **s3.environment(), "PYTHONPATH": str(ROOT)}
    for stage in STAGES:
        sent, asked, start = s3.sent, len(s3.requests), time.perf_counter()
        run = measure([sys.executable, "-m", f"scripts.{stage}", dataset], folder, env)
        print(
            f"{dataset} {stage:16} {time.perf_counter() - start:6.1f} s  "
            f"{run.peak_bytes / 1e9:5.2f} GB of memory  {(s3.sent - sent) / 1e9:6.2f} GB sent in "
            f"{len(s3.requests) - asked:,} requests",
            flush=True,
        )
    size = sum(path.stat().st_size for path in (data / "raw").iterdir())
    print(f"{dataset} raw/ has {size / 1e3:,.0f} kB")
    manifest = json.loads((data / "bins/manifest.json").read_bytes())
    shutil.rmtree(data)
    return manifest


if __name__ == "__main__":
    main()
