"""How do programs read what bins are? Croissant 1.1, as JSON-LD.

In: a folder of bins. Out: croissant.json: its files with lengths and SHA-256, the license of the
text and how to cite it. Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

import hashlib
from pathlib import Path

from slm.bins.format import MANIFEST
from slm.bins.manifest import Manifest, names_of
from slm.cards.about import summary, url
from slm.core.files import to_json

VERSION = "http://mlcommons.org/croissant/1.1"
TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field"),
    *("fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset"),
    *("jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT = {  # the specification's own
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    **{term: f"cr:{term}" for term in TERMS},
}
FORMATS = {".json": "application/json", ".tiktoken": "text/plain"}


def croissant(bins: Path, manifest: Manifest) -> bytes:
    """Returns croissant.json of these bins; reads each file once."""
    source = manifest["dataset"]
    about = {"license": source.get("license"), "url": url(manifest), "citeAs": source.get("cite")}
    names = [name for of, split in manifest["splits"].items() for name in names_of(of, split)]
    names += [*manifest.get("vocabulary", {}), MANIFEST]
    return to_json(
        {
            "@context": CONTEXT,
            "@type": "sc:Dataset",
            "conformsTo": VERSION,
            "name": source["name"],
            "description": summary(manifest),
            **{key: value for key, value in about.items() if value},
            "identifier": manifest["sha256"],
            "distribution": [_file(bins / name) for name in names],
        }
    )


def _file(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,  # the card lies beside the bins when they are published
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream"),
        "sha256": sha256,
    }
