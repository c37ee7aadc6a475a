"""How is a file read that stays at its URL? In ranges, and only while it is what was found first.

In: a URL, and the length and ETag that the server announced when `download` ran. Out: an open file.
An object with another length or ETag is refused when it is opened, and once more when it was read;
a server that sends less than it announced is, too. A file on a shared disk has no ETag: one whose
content or inode was touched after raw/source.json was made is refused.
"""

import io
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from slm.core.errors import UserError, check
from slm.text.by_url.client import AGAIN, TAKE, Gone, file_system, in_words

AHEAD = 8 * 2**20  # bytes of a request, the next of which is under way while one is read
KEPT = 4  # such pieces in memory
TAGS = ("ETag", "etag", "blob_id")  # what clients call it; blob_id is the hub's


class Found(NamedTuple):
    """What a server says of an object."""

    bytes: int
    etag: str | None
    changed: float | None  # seconds since 1970, of a file on a disk


class Object(NamedTuple):
    """A file of text that stays at its URL."""

    url: str
    bytes: int
    etag: str | None
    made: float | None = None  # when raw/source.json was: a file on a disk is not newer

    @property
    def name(self) -> str:
        """What it is called in its folder."""
        return PurePosixPath(self.url).name

    def open(self, _mode: str = "rb", ahead: bool = True) -> "Reading":
        """Opens it; `ahead` where it is read from a place on, and not here and there.

        Raises UserError if it is not what was found first, or cannot be read.
        """
        try:
            file, about = opened(self.url, ahead)
        except Gone:
            self.check_same()
            raise
        self._compare(found(self.url, about))
        return Reading(file, self.url, self.bytes)

    def check_same(self) -> None:
        """Raises UserError if it has changed since `download` found it."""
        try:
            self._compare(find(self.url))
        except Gone:
            raise UserError(f"{self.url} is gone since it was found; {TAKE}") from None

    def _compare(self, now: Found) -> None:
        newer = None not in (self.made, now.changed) and now.changed > self.made  # type: ignore[operator]
        check(
            now[:2] == (self.bytes, self.etag) and not newer,
            f"{self.url} has changed since it was found: it had {_told(self.bytes, self.etag)}, "
            f"now {_told(now.bytes, now.etag)}{', written since' if newer else ''}; {TAKE}",
        )


class Start(NamedTuple):
    """The first bytes of an object, which are read as a file is."""

    name: str
    content: bytes

    @property
    def bytes(self) -> int:
        """How many there are."""
        return len(self.content)

    def open(self, _mode: str = "rb") -> io.BytesIO:
        """Opens them."""
        return io.BytesIO(self.content)


def _told(size: int, etag: str | None) -> str:
    return f"{size:,} bytes" + (f" and ETag {etag}" if etag else "")


def opened(url: str, ahead: bool) -> tuple[Any, dict[str, Any]]:
    """Returns the client's open file, and what its server says of it."""
    client = file_system(url)
    how: dict[str, Any] = {"cache_type": "none"}
    if ahead:
        how = {"cache_type": "background", "cache_options": {"maxblocks": KEPT}}
    with in_words(url):
        file = client.open(url, "rb", block_size=AHEAD, **how)
        return file, getattr(file, "details", None) or client.info(url)


def find(url: str) -> Found:
    """Asks the server about an object; raises UserError if it is not there, or has no ETag."""
    client = file_system(url)
    with in_words(url):
        about = client.info(url)
    return found(url, about)


def found(url: str, about: dict[str, Any]) -> Found:
    """What a client's listing says of an object; raises UserError if that does not bind it."""
    is_folder = about.get("type") == "directory"
    check(not is_folder, f"{url} is a folder; name its files, such as {url.rstrip('/')}/*.parquet")
    tag = next((str(about[key]).strip('"') for key in TAGS if about.get(key)), None)
    on_disk = url.startswith("file:")
    known = about.get("size") is not None and (tag is not None or on_disk)
    check(known, f"{url}: its server gives no length or no ETag, by which a change would be seen; "
          "put the file into source/")  # fmt: skip
    times = [about[key] for key in ("mtime", "created") if about.get(key)]  # created is ctime
    return Found(int(about["size"]), tag, max(times, default=None) if on_disk else None)


class Reading(io.RawIOBase):
    """An open object of so many bytes; every error is a UserError that names it."""

    def __init__(self, file: Any, url: str, size: int) -> None:
        super().__init__()
        self._file, self._url, self._size = file, url, size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is."""
        return self._file.tell()

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        """Goes there."""
        with in_words(self._url):
            return self._file.seek(to, whence)

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer, unless the object ends before."""
        at = self._file.tell()
        with in_words(self._url):
            part = self._file.read(len(buffer))
        expected = min(len(buffer), max(0, self._size - at))
        if len(part) != expected:
            raise UserError(
                f"{self._url}: its server sent {len(part):,} bytes from byte {at:,} on, and not "
                f"{expected:,}; {AGAIN}"
            )
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        """Lets go of what was read ahead."""
        self._file.close()
        super().close()
