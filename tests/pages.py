"""The pages of the documentation in the order in which a reader would follow them, as text."""

import re

from tests.workspace import ROOT

NAMES = (
    "README.md",
    *(
        f"docs/{name}.md"
        for name in (
            "data",
            "selecting",
            "tokenization",
            "tokenizers",
            "scaling",
            "clusters",
            "object-storage",
            "format",
            "versions",
            "sharing",
            "export",
        )
    ),
    *(f"docs/{name}.md" for name in ("training", "batching", "packing", "training-loops")),
    *(f"docs/{name}.md" for name in ("describing", "comparing", "dvc", "benchmarks")),
    "docs/benchmarks-data.md",
    "docs/benchmarks-rows.md",
    "docs/benchmarks-stages.md",
    *("docs/design.md", "CONTRIBUTING.md", "AGENTS.md", "CHANGELOG.md"),
)
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
FOLLOWED = NAMES[:-4]  # a reader runs what these show


def blocks(kind: str, *names: str) -> list[str]:
    """The code blocks of a kind on these pages; where none is named, on all of FOLLOWED."""
    text = "\n".join(PAGES[name] for name in names or FOLLOWED)
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(*names: str) -> str:
    """The text of these pages without their code blocks."""
    text = "\n".join(PAGES[name] for name in names or NAMES)
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
