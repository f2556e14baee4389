"""What is fetched, and all that is refused, from answers made up here."""

import hashlib
import io
import urllib.error
import urllib.request
from email.message import Message

import pytest

from hw1 import network
from hw1.errors import InputError
from hw1.network import download

URL = "https://example.org/weights.pth"
CONTENT = bytes(range(256)) * 10
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def answers(monkeypatch):
    """Sets what the next request gives: bytes or an error."""

    def set_answer(answer):
        def open_url(_, url, timeout):
            if isinstance(answer, Exception):
                raise answer
            return io.BytesIO(answer)

        monkeypatch.setattr(urllib.request.OpenerDirector, "open", open_url)

    return set_answer


@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8]])
def test_file_of_the_expected_hash_is_written(digest, answers, tmp_path):
    answers(CONTENT)
    download(URL, tmp_path / "cache/weights.pth", len(CONTENT), digest)
    assert (tmp_path / "cache/weights.pth").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "answer, most, digest, message",
    [
        (CONTENT, len(CONTENT) - 1, DIGEST, "more than 2,559 bytes"),
        (CONTENT[:-1], 5000, DIGEST, "expected " + DIGEST),
        (CONTENT, 5000, "00000000", "expected 00000000"),
        (urllib.error.URLError("no route to host"), 5000, DIGEST, "no route to host"),
        (TimeoutError("timed out"), 5000, DIGEST, "timed out"),
    ],
)
def test_other_answers_are_one_error_that_names_the_url_and_leave_nothing(
    answer, most, digest, message, answers, tmp_path
):
    answers(answer)
    with pytest.raises(InputError) as error:
        download(URL, tmp_path / "weights.pth", most, digest)
    assert str(error.value).startswith(URL) and message in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_endless_answer_is_cut_off(monkeypatch, tmp_path):
    class Endless(io.RawIOBase):
        def read(self, size):
            return bytes(size)

    monkeypatch.setattr(network, "_open", lambda url: Endless())
    with pytest.raises(InputError, match="more than 3,000,000 bytes"):
        download(URL, tmp_path / "weights.pth", 3_000_000, DIGEST)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "/etc/passwd"])
def test_other_schemes_are_refused(url, tmp_path):
    with pytest.raises(InputError, match="not https"):
        download(url, tmp_path / "a", 10, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://example.org/a", "file:///etc/passwd"])
def test_redirects_to_other_schemes_are_refused(url):
    with pytest.raises(InputError, match="not https"):
        redirect(url)


def test_redirect_to_https_is_followed():
    assert redirect("https://mirror.example.org/a").full_url == "https://mirror.example.org/a"


def redirect(url):
    (handler,) = (
        handler
        for handler in urllib.request.build_opener(network._HttpsRedirects).handlers
        if isinstance(handler, urllib.request.HTTPRedirectHandler)
    )
    return handler.redirect_request(urllib.request.Request(URL), io.BytesIO(), 302, "Found", Message(), url)
