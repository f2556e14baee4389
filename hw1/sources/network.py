"""Files from the network: resumed, bounded in size, checked, and by https.

What has come lies in a hidden, locked folder beside the file until it is whole: a broken download goes on
where it stopped, in this process or a later one, and of two at once the second waits and takes the first's.
Plain http is taken from this machine itself, and where a SHA-256 proves what came.
"""

import dataclasses
import email.utils
import hashlib
import http.client
import json
import re
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hw1.run.errors import InputError
from hw1.run.files import sole_folder, whole_file

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 20  # bytes
ATTEMPTS = 6  # in a row that bring nothing new
PAUSE = 1.0  # seconds before the second of them, doubled before each further one
MAX_PAUSE = 60.0  # seconds, also where a server asks for more
PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that may be gone a moment later
LOOPBACK = {"localhost", "127.0.0.1", "::1"}

_FAULTS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


class PassingFault(Exception):
    """A fault that may be gone later: after ``pause`` seconds, where the server says so."""

    def __init__(self, reason: object, pause: float = 0.0, progress: bool = False):
        super().__init__(str(reason))
        self.pause, self.progress = pause, progress


@dataclass(frozen=True)
class Version:
    """What a server says of a file: its ETag, its last change, its length in bytes (None: not said)."""

    url: str
    etag: str
    modified: str
    length: int | None

    @property
    def validator(self) -> str:
        """What tells two versions apart: a strong ETag, else the time of the last change; "" where neither is given."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def same_bytes(self, other: "Version") -> bool:
        return bool(self.validator) and (self.validator, self.length) == (other.validator, other.length)


def download(url: str, path: Path, most: int, digest: str = "") -> None:
    """Fetch ``url`` to ``path`` and what the server says of it to ``path``.json; nothing if ``path`` is there.

    ``digest`` is ``sha256:`` or ``md5:`` and hex digits with which the file's begins; ``most`` is in bytes.

    Raises:
        InputError: a scheme that is refused, also in a redirect; a fault that lasts; too many bytes, or others.
    """
    trusted = re.fullmatch("sha256:[0-9a-f]{64}", digest) is not None
    _require_safe(url, trusted)
    with sole_folder(path.with_name(f".{path.name}.part"), empty=False) as folder:
        if path.is_file():  # fetched by another process while this one waited
            shutil.rmtree(folder)
            return
        part = _Part(url, folder, most, trusted)
        try:
            persist(url, part.attempt)
        except InputError:
            if not part.size():
                shutil.rmtree(folder)
            raise
        try:
            require_digest(part.content, digest, url)
        except InputError:
            shutil.rmtree(folder)
            raise
        with whole_file(path.with_name(f"{path.name}.json")) as draft:
            draft.write_text(json.dumps(dataclasses.asdict(part.version), indent=2) + "\n")
        part.content.replace(path)
        shutil.rmtree(folder)


def changed(path: Path) -> bool:
    """Whether the server has another version of a file of :func:`download`; False where it cannot be asked."""
    try:
        had = _load_version(path.with_name(f"{path.name}.json"))
        if had is None:
            return False
        with _open(urllib.request.Request(had.url, method="HEAD"), trusted=True) as answer:
            now = _version(had.url, answer)
    except (*_FAULTS, InputError):
        return False
    return bool(now.validator and had.validator) and not now.same_bytes(had)


def persist(what: str, attempt: Callable[[], None]) -> None:
    """Call ``attempt`` until it raises no PassingFault; InputError after ATTEMPTS in a row without progress."""
    failures = 0
    while True:
        try:
            return attempt()
        except PassingFault as fault:
            failures = 0 if fault.progress else failures + 1
            if failures == ATTEMPTS:
                raise InputError(f"{what}: {fault}, {ATTEMPTS} times in a row; what came is kept, try later") from None
            pause = min(max(fault.pause, PAUSE * 2 ** max(0, failures - 1)), MAX_PAUSE)
            print(f"{what}: {fault}; trying again in {pause:.0f} s", file=sys.stderr)
            time.sleep(pause)


def require_digest(path: Path, digest: str, what: str) -> None:
    """InputError unless the file's hash begins with ``digest`` (``algorithm:hex``; "" takes any file)."""
    if digest:
        algorithm, _, expected = digest.partition(":")
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if not found.startswith(expected):
            name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
            raise InputError(f"{what}: {name} {found}, expected {expected}; not the file that is wanted, or damaged")


class _Part:
    """A download under way: ``content`` so far, and the version it is of, in a folder of its own."""

    def __init__(self, url: str, folder: Path, most: int, trusted: bool):
        self.url, self.most, self.trusted = url, most, trusted
        self.content, self._record = folder / "content", folder / "version.json"
        self.content.touch()
        self.version = _load_version(self._record)

    def attempt(self) -> None:
        """Fetch what is missing; PassingFault if not all of it came."""
        have = self._usable()
        if self.version is not None and have == self.version.length:
            return
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", self.version.validator)
        try:
            with _open(request, self.trusted) as answer:
                self._receive(answer, have)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # what is here is not of the file that is there
                self._forget()
                raise PassingFault("it changed on the server") from None
            if error.code not in PASSING:
                raise InputError(f"{self.url}: {error.code} {error.reason}") from None
            raise PassingFault(f"{error.code} {error.reason}", _pause_of(error.headers)) from None
        except _FAULTS as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, ssl.SSLCertVerificationError | http.client.InvalidURL):
                raise InputError(f"{self.url}: {reason}") from None
            raise PassingFault(reason, progress=self.size() >= have + CHUNK) from None

    def _usable(self) -> int:
        """Bytes to go on from: none where the server gave nothing to tell versions by."""
        version = self.version
        if version is None or not version.validator or version.url != self.url:
            self._forget()
        return self.size()

    def _forget(self) -> None:
        self.content.write_bytes(b"")
        self.version = None

    def size(self) -> int:
        """Bytes that have come."""
        return self.content.stat().st_size

    def _receive(self, answer: http.client.HTTPResponse, have: int) -> None:
        version = _version(self.url, answer)
        if have and (answer.status != 206 or not version.same_bytes(self.version)):
            if answer.status == 206:
                self._forget()
                raise PassingFault("it changed on the server")
            have = 0  # the whole file comes: it changed, or the server knows no ranges
        if answer.status == 206 and _first_byte(answer) != have:
            raise InputError(f"{self.url}: the server sends another part than was asked for")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise InputError(f"{self.url}: the server sends it compressed, which was not asked for")
        self._require_room(version.length, have)
        self.version = version
        self._record.write_text(json.dumps(dataclasses.asdict(version)))
        with open(self.content, "r+b") as file:
            file.truncate(have)
            file.seek(have)
            size = self._copy(answer, file, have)
        if version.length is not None and size < version.length:
            reason = f"the connection ended after {size:,} of {version.length:,} bytes"
            raise PassingFault(reason, progress=size >= have + CHUNK)
        # Without a length, an answer that ends in order is whole.
        self.version = dataclasses.replace(version, length=size)

    def _require_room(self, length: int | None, have: int) -> None:
        if length is not None and length > self.most:
            raise InputError(f"{self.url}: {length:,} bytes, more than the {self.most:,} it may have")
        free = shutil.disk_usage(self.content.parent).free
        if length is not None and length - have > free:
            raise InputError(
                f"{self.url}: {length - have:,} bytes to come, but {free:,} free on the disk; free some space"
            )

    def _copy(self, answer, file, have: int) -> int:
        """Append the answer's bytes; the size reached."""
        from tqdm import tqdm  # only here: no training needs it

        size = have
        with tqdm(
            desc=self.content.parent.name.strip(".").removesuffix(".part"),
            total=self.version.length,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None,
        ) as bar:
            while chunk := answer.read1(CHUNK):
                size += len(chunk)
                if size > self.most:
                    raise InputError(f"{self.url}: more than the {self.most:,} bytes it may have")
                file.write(chunk)
                bar.update(len(chunk))
        return size


def _load_version(path: Path) -> Version | None:
    try:
        return Version(**json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):  # absent, or torn by a kill
        return None


def _version(url: str, answer: http.client.HTTPResponse) -> Version:
    headers = answer.headers
    length = headers.get("Content-Length", "")
    if answer.status == 206:
        length = headers.get("Content-Range", "").rpartition("/")[2]
    return Version(
        url, headers.get("ETag", ""), headers.get("Last-Modified", ""), int(length) if length.isdecimal() else None
    )


def _first_byte(answer: http.client.HTTPResponse) -> int | None:
    match = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _pause_of(headers: http.client.HTTPMessage) -> float:
    """Seconds a ``Retry-After`` asks for, 0 without one."""
    text = headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0


def _open(request: urllib.request.Request, trusted: bool) -> http.client.HTTPResponse:
    """The answer to a request; ``trusted`` takes plain http too, also after a redirect."""
    return urllib.request.build_opener(_Redirects(trusted)).open(request, timeout=TIMEOUT)


def _require_safe(url: str, trusted: bool) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url}: no web address ({error})") from None
    if parts.scheme == "https" or (parts.scheme == "http" and (trusted or parts.hostname in LOOPBACK)):
        return
    advice = "give its SHA-256 to fetch it by http" if parts.scheme == "http" else "only https is fetched"
    raise InputError(f"{url}: not https; {advice}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to what may be fetched, and refuses others."""

    def __init__(self, trusted: bool):
        self._trusted = trusted

    def redirect_request(self, request, answer, code, message, headers, url):
        local = urlsplit(url).hostname in LOOPBACK and urlsplit(request.full_url).hostname not in LOOPBACK
        if local:  # a stranger's server has no business with this machine's
            raise InputError(f"{request.full_url}: redirects to this machine, which is refused")
        _require_safe(url, self._trusted)
        return super().redirect_request(request, answer, code, message, headers, url)
