"""Files from the network: resumed, bounded in size, checked, and by https; those of Google Drive too.

What has come lies in a hidden, locked folder beside the file until it is whole: a broken download goes on
where it stopped, in this process or a later one, and of two at once the second waits and takes the first's.
Plain http is taken from this machine itself, and where a SHA-256 proves what came.
"""

import hashlib
import json
import re
import shutil
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm import tqdm

from hw1.run.errors import InputError
from hw1.run.files import sole_folder

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 16  # bytes
PROGRESS = 1 << 20  # bytes that an attempt must bring to count as none that failed
ATTEMPTS = 6  # in a row that bring nothing new
PAUSE = 2.0  # seconds before the second of them, doubled before each further one
PASSING = {408, 425, 429, 500, 502, 503, 504}  # statuses that may be gone a moment later
LOOPBACK = {"localhost", "127.0.0.1", "::1"}
DRIVE = "https://drive.google.com/uc?id="


class _PassingFault(Exception):
    """A fault that may be gone later."""


def download(url: str, path: Path, most: int, digest: str = "") -> None:
    """Fetch ``url`` to ``path`` and what the server says of it to ``path``.json; nothing if ``path`` is there.

    ``digest`` is ``sha256:`` or ``md5:`` and hex digits with which the file's begins; ``most`` is in bytes.

    Raises:
        InputError: a scheme that is refused, also in a redirect; a fault that lasts; too many bytes, or others.
    """
    trusted = re.fullmatch("sha256:[0-9a-f]{64}", digest) is not None
    _require_safe(url, trusted)
    with sole_folder(path.with_name(f".{path.name}.part"), empty=False) as folder:
        part = _Part(url, folder, most, trusted)
        try:
            if path.is_file():  # fetched by another process while this one waited
                part.forget()
                return
            part.complete()
            try:
                require_digest(part.content, digest, url)
            except InputError:
                part.forget()
                raise
            part.record.replace(path.with_name(f"{path.name}.json"))
            part.content.replace(path)
        finally:
            if not part.size():
                shutil.rmtree(folder)


def fetch_drive(file_id: str, path: Path, most: int, digest: str = "") -> None:
    """Fetch a public file of Google Drive as :func:`download` does."""
    url = f"{DRIVE}{file_id}"
    try:
        download(url, path, most, digest)
    except InputError as error:
        advice = f"or open {url} in a browser, save it as {path.name} and set data.source: path, data.path: {path.name}"
        raise InputError(f"{error}; {advice}") from None


def changed(path: Path) -> bool:
    """Tell whether the server has another version of a file of :func:`download`; False where it cannot be asked."""
    had = _load(path.with_name(f"{path.name}.json"))
    try:
        with _Session(had["url"], trusted=True) as session:
            answer = session.head(had["url"], timeout=TIMEOUT, allow_redirects=True)
        now = _version(had["url"], answer)
    except (KeyError, requests.RequestException, InputError):
        return False
    return answer.ok and bool(now["validator"] and had["validator"]) and now != had


def require_digest(path: Path, digest: str, what: str) -> None:
    """Raise InputError unless the file's hash begins with ``digest`` (``algorithm:hex``; "" takes any file)."""
    if digest:
        algorithm, _, expected = digest.partition(":")
        with open(path, "rb") as file:
            actual = hashlib.file_digest(file, algorithm).hexdigest()
        if not actual.startswith(expected):
            name = {"sha256": "SHA-256", "md5": "MD5"}[algorithm]
            raise InputError(f"{what}: {name} {actual}, expected {expected}; not the file that is wanted, or damaged")


class _Part:
    """A download under way: ``content`` so far, and the ``record`` of the version it is of, in a folder of its own."""

    def __init__(self, url: str, folder: Path, most: int, trusted: bool):
        self.url, self.most, self.trusted = url, most, trusted
        self.content, self.record = folder / "content", folder / "version.json"

    def size(self) -> int:
        """Count the bytes that have come."""
        return self.content.stat().st_size if self.content.is_file() else 0

    def forget(self) -> None:
        self.content.unlink(missing_ok=True)

    def complete(self) -> None:
        """Fetch what is missing, by as many attempts as bring something; InputError after ATTEMPTS that do not."""
        failures = 0
        while True:
            before = self.size()
            try:
                return self._attempt()
            except _PassingFault as fault:
                failures = 0 if self.size() >= before + PROGRESS else failures + 1
                if failures == ATTEMPTS:
                    text = f"{self.url}: {fault}, {ATTEMPTS} times in a row; what came is kept, try later"
                    raise InputError(text) from None
                print(f"{self.url}: {fault}; trying again", file=sys.stderr)
                time.sleep(PAUSE * 2 ** max(0, failures - 1))

    def _attempt(self) -> None:
        version = _load(self.record)
        if version.get("url") != self.url or not version.get("validator"):  # nothing to tell versions by
            self.forget()
        have = self.size()
        if have and have == version["length"]:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": version["validator"]} if have else {}
        try:
            with _Session(self.url, self.trusted) as session, session.ask(self.url, headers) as answer:
                self._receive(answer, have, version)
        except requests.exceptions.ChunkedEncodingError:
            raise _PassingFault(f"the connection ended after {self.size():,} bytes") from None
        except requests.RequestException as error:
            passing = isinstance(error, requests.ConnectionError | requests.Timeout)
            if passing and "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise _PassingFault(_reason(error)) from None
            raise InputError(f"{self.url}: {_reason(error)}") from None
        except ValueError as error:  # of a redirect to what is no address
            raise InputError(f"{self.url}: {error}") from None

    def _receive(self, answer: requests.Response, have: int, before: dict) -> None:
        """Append an answer to the ``have`` bytes of the version ``before``, or begin anew with it."""
        status, version = answer.status_code, _version(self.url, answer)
        if status == 416 or (status == 206 and version != before):
            self.forget()
            raise _PassingFault("it changed on the server")
        if status in PASSING:
            raise _PassingFault(f"{status} {answer.reason}")
        if status not in (200, 206):
            raise InputError(f"{self.url}: {status} {answer.reason}")
        part = status == 200 or answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if not part or answer.headers.get("Content-Encoding", "identity") != "identity":
            raise InputError(f"{self.url}: the server sends it compressed, or another part than was asked for")
        if status == 200:  # it is the first, it changed, or the server knows no ranges
            have = 0
            self.forget()  # before the record says that what is there is of another version
        length, free = version["length"] or 0, shutil.disk_usage(self.content.parent).free
        if length > self.most:
            raise InputError(f"{self.url}: {length:,} bytes, more than the {self.most:,} it may have")
        if length - have > free:
            raise InputError(f"{self.url}: {length - have:,} bytes to come, but {free:,} free on the disk; free some")
        self.record.write_text(json.dumps(version, indent=2) + "\n")
        self._append(answer, have, version["length"])

    def _append(self, answer: requests.Response, size: int, length: int | None) -> None:
        name = self.content.parent.name.strip(".").removesuffix(".part")
        bar = tqdm(desc=name, total=length, initial=size, unit="B", unit_scale=True, disable=None)
        with bar, open(self.content, "ab") as file:
            for chunk in answer.iter_content(CHUNK):
                size += len(chunk)
                if size > self.most:
                    raise InputError(f"{self.url}: more than the {self.most:,} bytes it may have")
                file.write(chunk)
                bar.update(len(chunk))
        if size < (length or 0):  # without a length, an answer that ends in order is whole
            raise _PassingFault(f"the connection ended after {size:,} bytes")


class _Session(requests.Session):
    """Requests to safe addresses alone, each redirect's included."""

    def __init__(self, url: str, trusted: bool):
        super().__init__()
        self.headers["Accept-Encoding"] = "identity"  # ranges count the bytes of the file
        self._trusted, self._local = trusted, urlsplit(url).hostname in LOOPBACK

    def send(self, request: requests.PreparedRequest, **options) -> requests.Response:
        local = urlsplit(request.url).hostname in LOOPBACK
        if local and not self._local:  # a stranger's server has no business with this machine's
            raise InputError(f"{request.url}: a redirect to this machine, which is refused")
        self._local = local
        _require_safe(request.url, self._trusted)
        return super().send(request, **options)

    def ask(self, url: str, headers: dict[str, str]) -> requests.Response:
        """Request a file: behind the page on which Drive says that it is too large to be scanned, if there is one."""
        answer = self.get(url, headers=headers, stream=True, timeout=TIMEOUT)
        page = answer.headers.get("Content-Type", "").startswith("text/html")
        if not url.startswith(DRIVE) or not answer.ok or not page:
            return answer
        from gdown.download import get_url_from_gdrive_confirmation  # only here: it takes half a second
        from gdown.exceptions import FileURLRetrievalError

        try:
            confirmed = get_url_from_gdrive_confirmation(answer.text)
        except FileURLRetrievalError as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{url}: Google Drive does not give it ({reason}); try again in a day") from None
        return self.get(confirmed, headers=headers, stream=True, timeout=TIMEOUT)


def _require_safe(url: str, trusted: bool) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url}: no web address ({error})") from None
    if parts.scheme == "https" or (parts.scheme == "http" and (trusted or parts.hostname in LOOPBACK)):
        return
    advice = "give its SHA-256 to fetch it by http" if parts.scheme == "http" else "only https is fetched"
    raise InputError(f"{url}: not https; {advice}")


def _load(record: Path) -> dict:
    """Read a version; an empty one where the file is absent, or torn by a kill."""
    try:
        return json.loads(record.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _version(url: str, answer: requests.Response) -> dict:
    """Record what tells two versions apart: length in bytes, and a strong ETag or the time of the last change."""
    etag = answer.headers.get("ETag", "")
    length = answer.headers.get("Content-Length", "")
    if answer.status_code == 206:
        length = answer.headers.get("Content-Range", "").rpartition("/")[2]
    return {
        "url": url,
        "validator": etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", ""),
        "length": int(length) if length.isdecimal() else None,
    }


def _reason(error: requests.RequestException) -> str:
    """Cut an error of many layers to the innermost one's words."""
    cause = error.args[0] if error.args else error
    return str(getattr(cause, "reason", cause)).rpartition(": ")[2]
