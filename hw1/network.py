"""Files from the network: by https alone, of a bounded size, with the expected hash."""

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from hw1.errors import InputError
from hw1.files import sha256, whole_file

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 20  # bytes


def download(url: str, path: Path, most: int, digest: str) -> None:
    """Write what ``url`` gives to ``path``: at most ``most`` bytes, whose hex SHA-256 begins with ``digest``.

    Raises:
        InputError: another scheme than https, also in a redirect; no answer; too many bytes, or others.
    """
    with whole_file(path) as draft:
        try:
            with _open(url) as answer, open(draft, "wb") as file:
                _copy(url, answer, file, most)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise InputError(f"{url}: {getattr(error, 'reason', error)}") from None
        found = sha256(draft)
        if not found.startswith(digest):
            raise InputError(f"{url}: SHA-256 {found}, expected {digest}...; not the file that is wanted, or damaged")


def _open(url: str) -> IO[bytes]:
    _require_https(url)
    return urllib.request.build_opener(_HttpsRedirects).open(url, timeout=TIMEOUT)


def _copy(url: str, answer: IO[bytes], file: IO[bytes], most: int) -> None:
    written = 0
    while chunk := answer.read(CHUNK):
        written += len(chunk)
        if written > most:
            raise InputError(f"{url}: more than {most:,} bytes, which is not what is wanted")
        file.write(chunk)


def _require_https(url: str) -> None:
    if urlsplit(url).scheme != "https":
        raise InputError(f"{url}: not https; nothing is fetched by other ways")


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https, and refuses others."""

    def redirect_request(self, request, answer, code, message, headers, url):
        _require_https(url)
        return super().redirect_request(request, answer, code, message, headers, url)
