"""How are bins opened that lie in object storage, or may?

In: a folder of bins, a URL of one, or a folder whose store.json names a URL, as `bins.store` makes
it. Out: opened bins. Of those at a URL the manifest is brought first; a file comes when it is
needed, is compared with its hashes, and stays in the local store. Of a URL that ends in the hash of
the bins a second opening asks no server.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from slm.bins.format import MANIFEST
from slm.bins.manifest import Manifest, read_manifest, url_in
from slm.bins.opening import Bins, open_folder
from slm.bins.opening import open_bins as open_here
from slm.bins.store import filling, local_store
from slm.bins.verifying import check_bytes
from slm.core.errors import check
from slm.core.files import landing, to_json
from slm.text.by_url.client import check_url, is_url

HASH = re.compile("[0-9a-f]{64}")


def open_bins(path: str | Path, *, verify: bool = False, store: str | Path | None = None) -> Bins:
    """Opens bins in a folder or at a URL (s3://…, https://…); `verify` reads every byte first.

    What comes from a URL stays in `store` ($SLM_STORE, or ~/.cache/slm/bins). Raises UserError, a
    ValueError, if a file is missing, is not as the manifest says, or cannot be brought.
    """
    check(re.match("[a-z0-9]+:/[^/]", str(path)) is None, f"{path} is no URL; pass a string")
    if is_url(str(path)):
        bins = open_url(str(path), store)
    else:
        folder = Path(path)
        if (url := url_in(folder)) is None:
            return open_here(folder, verify=verify)
        bins = open_url(url, store, read_manifest(folder))
    if verify:
        bins.need(None)
        check_bytes(bins.folder, cure_of(bins))
    return bins


def cure_of(bins: Bins) -> str:
    """What repairs files of the local store."""
    return f"`rm -r {bins.folder}`, then open it again"


def open_url(url: str, store: str | Path | None = None, manifest: Manifest | None = None) -> Bins:
    """Opens the bins at a URL, of which the manifest alone is brought, if it is not known."""
    from slm.stores.bringing import Far, manifest_at  # needs tqdm, and bins here do not

    url = url.rstrip("/")
    check_url(url)
    above, name = local_store(store), urlsplit(url).path.rpartition("/")[2]
    is_hash = HASH.fullmatch(name) is not None
    if manifest is None and is_hash and (above / name / MANIFEST).is_file():
        manifest = read_manifest(above / name)
    manifest = manifest or manifest_at(url)
    named = not is_hash or name == manifest["sha256"]
    check(named, f"{url} has bins {manifest['sha256']}, and not those of its name")
    folder = above / manifest["sha256"]
    with filling(folder):
        if not (folder / MANIFEST).is_file():  # not before: another process may just have made it
            with landing(folder) as made:
                (made / MANIFEST).write_bytes(to_json(manifest))
    bins = open_folder(folder, False, f"`rm -r {folder}`, then open it again", partial=True)
    return bins._replace(far=Far(url, folder))
