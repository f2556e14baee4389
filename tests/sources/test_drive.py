"""Google Drive as gdown meets it: the confirm page, the quota page, broken transfers, refusals."""

import hashlib
from urllib.parse import urlsplit

import pytest
import requests
from web_server import Fault, serve

from hw1.run.errors import InputError
from hw1.sources import network
from hw1.sources.drive import fetch_drive

CONTENT = b"PK" + bytes(range(256)) * 10_000
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
FILE = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="hw1_data.zip"'}
HTML = {"Content-Type": "text/html; charset=utf-8"}
# What Drive shows for files too large for its virus scan, and when too many have fetched a file.
CONFIRM = (
    b'<html><body><form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    b'<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t"></form></body></html>'
)
QUOTA = b"""<html><body><p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>"""


@pytest.fixture
def drive(monkeypatch):
    """A server that stands in for every host gdown asks; ``/download`` serves the file."""
    monkeypatch.setattr(network, "PAUSE", 0.01)
    monkeypatch.setattr("random.uniform", lambda low, high: 0.0)  # gdown's own pauses
    send = requests.Session.send
    with serve() as site:

        def sent_here(session, request, **options):
            parts = urlsplit(request.url)
            assert parts.scheme == "https"
            request.url = f"{site.address}{parts.path}?{parts.query}"
            options["proxies"] = {}
            return send(session, request, **options)

        monkeypatch.setattr(requests.Session, "send", sent_here)
        site.put("/download", CONTENT)
        yield site


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads/hw1_data.zip"


def fetched(path, digest=""):
    fetch_drive("abc", path, len(CONTENT), digest)
    return path.read_bytes()


def test_file_behind_the_confirm_page_is_fetched(drive, path):
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE)]
    assert fetched(path, DIGEST) == CONTENT
    assert [request[1] for request in drive.requests] == ["/uc?id=abc", "/download?id=abc&confirm=t"]
    assert [entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")] == ["hw1_data.zip"]


def test_small_file_comes_without_a_confirm_page(drive, path):
    drive.faults = [Fault(200, FILE, CONTENT)]
    assert fetched(path) == CONTENT


def test_finished_file_is_not_fetched_again(drive, path):
    drive.faults = [Fault(200, FILE, CONTENT)]
    fetched(path)
    fetched(path)
    assert len(drive.requests) == 1


def test_quota_page_says_what_to_do(drive, path):
    drive.faults = [Fault(200, HTML, QUOTA)]
    with pytest.raises(InputError) as error:
        fetched(path)
    assert "quota is used up" in str(error.value)
    assert "data.source: path" in str(error.value)
    assert "https://drive.google.com/uc?id=abc" in str(error.value)
    assert not path.exists()
    assert len(drive.requests) == 1


@pytest.mark.parametrize("status, reason", [(404, "404 Not Found"), (403, "403 Forbidden")])
def test_file_that_is_gone_or_closed_is_told_at_once(status, reason, drive, path):
    drive.faults = [Fault(status, FILE, b"no")]
    with pytest.raises(InputError, match=reason):
        fetched(path)
    assert len(drive.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_passing_faults_are_tried_again(status, drive, path):
    drive.faults = [Fault(status, FILE, b"later"), Fault(200, FILE, CONTENT)]
    assert fetched(path) == CONTENT


def test_cut_transfer_is_resumed(drive, path):
    again = [Fault(200, HTML, CONFIRM), Fault(headers=FILE), Fault(headers=FILE)]
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE, cut_after=1_000_000), *again]
    assert fetched(path) == CONTENT
    assert drive.ranges_asked[-1] == "bytes=524288-"  # gdown keeps whole chunks


def test_later_run_goes_on_from_what_came(drive, path, monkeypatch):
    monkeypatch.setattr(network, "ATTEMPTS", 1)
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE, cut_after=1_000_000)]
    with pytest.raises(InputError, match="what came is kept"):
        fetched(path)
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE), Fault(headers=FILE)]
    assert fetched(path) == CONTENT
    assert drive.ranges_asked[-1] == "bytes=524288-"


def test_other_bytes_than_expected_are_named_and_left_nowhere(drive, path):
    drive.faults = [Fault(200, FILE, CONTENT[:-1] + b"?")]
    with pytest.raises(InputError, match=r"Google Drive file abc: SHA-256 [0-9a-f]{64}, expected"):
        fetched(path, DIGEST)
    assert [entry for entry in path.parent.rglob("*") if entry.is_file()] == []


def test_more_than_the_bound_is_not_taken(drive, path):
    drive.faults = [Fault(200, FILE, CONTENT + b"?")]
    with pytest.raises(InputError, match="more than the 2,560,002 bytes it may have"):
        fetched(path)
    assert not path.exists()


def test_network_that_is_down_is_told_in_short(drive, path, monkeypatch):
    def refuse(session, request, **options):
        raise requests.exceptions.ConnectionError("a long story of pools and sockets")

    monkeypatch.setattr(requests.Session, "send", refuse)
    with pytest.raises(InputError, match=r"^Google Drive file abc: no connection to Google Drive, 6 times in a row"):
        fetched(path)
    assert list(path.parent.iterdir()) == []
