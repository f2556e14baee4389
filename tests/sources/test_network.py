"""Downloads from a server on 127.0.0.1: whole or resumed, or one error that names the address and leaves no file."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from web_server import Fault, serve

from hw1.run.errors import InputError
from hw1.sources import network
from hw1.sources.network import changed, download, fetch_drive

CONTENT = bytes(range(256)) * 20_000  # 5,120,000 bytes
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MOST = len(CONTENT)
CUT = 20 * network.CHUNK  # bytes: more than PROGRESS
CODE = "from pathlib import Path; from hw1.sources.network import download; download({!r}, Path({!r}), {})"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(network, "PAUSE", 0.01)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve() as site:
        yield site


@pytest.fixture
def url(site):
    return site.put("/a.zip", CONTENT)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "downloads/a.zip"


@pytest.fixture
def one_attempt(monkeypatch):
    monkeypatch.setattr(network, "ATTEMPTS", 1)


def files(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.parametrize("digest", ["", DIGEST, DIGEST[:15], f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_whole_file_of_the_expected_hash_is_left_with_its_version_and_not_fetched_again(digest, site, url, path):
    for _ in range(2):
        download(url, path, MOST, digest)
    assert path.read_bytes() == CONTENT
    assert files(path) == ["a.zip", "a.zip.json"]
    assert len(site.requests) == 1


def test_cut_connections_are_resumed_where_they_ended(site, url, path, one_attempt):
    """By one attempt, as those that bring something do not count."""
    site.faults = [Fault(cut_after=CUT), Fault(cut_after=CUT), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT
    assert site.ranges_asked == ["", f"bytes={CUT}-", f"bytes={2 * CUT}-"]


def cut_once(site, url, path):
    site.faults = [Fault(cut_after=CUT // 2)]
    with pytest.raises(InputError, match=rf"the connection ended after {CUT // 2:,} bytes.*what came is kept"):
        download(url, path, MOST)
    assert not path.exists()


def test_killed_download_goes_on_from_what_came(site, url, path):
    """SIGKILL at any moment: the version is written before the first byte of it."""
    site.faults = [Fault(cut_after=3_000_000)] * 100
    code = CODE.format(url, str(path), MOST)
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while not site.requests and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        process.kill()
    site.faults = []
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


def test_changed_etag_starts_anew_and_never_joins_two_versions(site, url, path, one_attempt):
    cut_once(site, url, path)
    site.put("/a.zip", CONTENT[::-1])
    cut_once(site, url, path)
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT[::-1]


def test_new_version_is_recorded_after_the_bytes_of_the_old_one_are_gone(site, url, path, one_attempt, monkeypatch):
    cut_once(site, url, path)
    site.put("/a.zip", CONTENT[::-1])
    monkeypatch.setattr(network._Part, "_append", lambda *_: sys.exit("killed"))
    with pytest.raises(SystemExit):
        download(url, path, MOST)
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT[::-1]


def test_server_that_ignores_if_range_does_not_join_two_versions(site, url, path):
    other = CONTENT[::-1]
    rest = {"ETag": '"new"', "Content-Range": f"bytes {CUT}-{MOST - 1}/{MOST}"}
    site.faults = [Fault(cut_after=CUT), Fault(206, rest, other[CUT:]), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("headers, ranges", [({"ETag": "", "Last-Modified": ""}, True), ({}, False)])
def test_without_versions_or_ranges_the_file_comes_whole_again(headers, ranges, site, url, path):
    site.ranges, site.faults = ranges, [Fault(headers=headers, cut_after=CUT), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


def test_passing_faults_are_tried_again_after_pauses_that_double(site, url, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(network.time, "sleep", pauses.append)
    site.faults = [Fault(429), Fault(500), Fault(503), Fault(408), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT
    assert pauses == [0.01, 0.02, 0.04, 0.08]


@pytest.mark.parametrize(
    "fault, most, digest, reason",
    [
        (Fault(404), MOST, "", "404 Not Found"),
        (Fault(403), MOST, "", "403 Forbidden"),
        (Fault(410), MOST, "", "410 Gone"),
        (Fault(headers={"Content-Encoding": "br"}), MOST, "", ".*sends it compressed"),
        (None, MOST, "sha256:00ff", "SHA-256 [0-9a-f]{64}, expected 00ff"),
        (None, MOST - 1, "", ".*5,120,000 bytes, more than the 5,119,999 it may have"),  # announced, before it comes
    ],
)
def test_lasting_faults_are_told_at_once_and_leave_nothing(fault, most, digest, reason, site, url, path):
    site.faults = [fault]
    with pytest.raises(InputError, match=f"{url}: {reason}"):
        download(url, path, most, digest)
    assert len(site.requests) == 1
    assert files(path) == []


def test_server_that_stays_away_is_told_once_it_was_tried_enough(site, path):
    with pytest.raises(InputError, match=r"a\.zip: .*Connection refused, 6 times in a row; what came is kept, try"):
        download("http://127.0.0.1:9/a.zip", path, MOST)


PART = {"Content-Range": f"bytes 5-{MOST - 1}/{MOST}"}
ENDLESS = {"Content-Length": "", "Connection": "close"}


@pytest.mark.parametrize(
    "faults, most, reason",
    [
        ([Fault(206, PART, CONTENT[5:])] * 6, MOST, "it changed on the server, 6 times in a row"),
        ([Fault(headers={"Content-Length": "6000000"})] + [Fault(416)] * 20, 2 * MOST, "6 times in a row"),
        ([Fault(200, ENDLESS, CONTENT)], 3_000_000, "more than the 3,000,000 bytes"),
    ],
    ids=["another part", "too little", "endless"],
)
def test_answer_of_another_part_or_length_is_told(faults, most, reason, site, url, path):
    site.faults = faults
    with pytest.raises(InputError, match=reason):
        download(url, path, most)
    assert not path.exists()


def test_more_bytes_than_announced_are_not_taken(site, url, path):
    site.faults = [Fault(200, {"Content-Length": "10"}, CONTENT)]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT[:10]


def test_full_disk_is_told_before_the_bytes_come(url, path, monkeypatch):
    usage = network.shutil.disk_usage("/")
    monkeypatch.setattr(network.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="5,120,000 bytes to come, but 1,000 free on the disk"):
        download(url, path, MOST)


def test_redirect_is_followed(site, url, path):
    site.faults = [Fault(302, {"Location": url}), None]
    download(f"{site.address}/old.zip", path, MOST)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://example.org/a", "http://[/a"])
def test_other_schemes_are_refused_and_no_redirect_to_them_is_followed(target, site, path):
    for address in (target, "/etc/passwd", "http://[/a"):
        with pytest.raises(InputError, match=r"not https|no web address"):
            download(address, path, 10)
    assert not path.parent.exists()
    site.faults = [Fault(302, {"Location": target})]
    with pytest.raises(InputError, match=r"not https|Invalid IPv6 URL"):
        download(f"{site.address}/a.zip", path, MOST)
    assert not path.exists()


def test_redirect_from_elsewhere_to_this_machine_is_refused(url):
    with pytest.raises(InputError, match="a redirect to this machine"):
        network._Session("https://example.org/a.zip", trusted=True).get(url)


def test_http_is_taken_where_a_whole_sha256_proves_what_comes():
    network._require_safe("http://example.org/a", trusted=True)
    with pytest.raises(InputError, match="give its SHA-256 to fetch it by http"):
        network._require_safe("http://example.org/a", trusted=False)


def test_two_at_once_fetch_it_once_and_whole(site, url, path):
    code = CODE.format(url, str(path), MOST)
    pair = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in pair] == [0, 0]
    assert path.read_bytes() == CONTENT
    assert len(site.ranges_asked) == 1


def test_change_on_the_server_is_noticed_and_none_where_it_is_away(site, url, path):
    download(url, path, MOST)
    assert not changed(path)
    site.put("/a.zip", CONTENT[::-1])
    assert changed(path)
    record = Path(f"{path}.json")
    record.write_text(record.read_text().replace(url, "http://127.0.0.1:9/a.zip"))
    assert not changed(path)


# -- Google Drive: what it shows for files too large for its virus scan, and when too many have fetched a file

FILE = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="hw1_data.zip"'}
HTML = {"Content-Type": "text/html; charset=utf-8"}
CONFIRM = (
    b'<html><body><form id="download-form" action="https://drive.usercontent.google.com/download" method="get">'
    b'<input type="hidden" name="id" value="abc"><input type="hidden" name="confirm" value="t"></form></body></html>'
)
QUOTA = b"""<html><body><p class="uc-error-caption">Sorry, you can't view or download this file at this time.</p>
<p class="uc-error-subcaption">Too many users have viewed or downloaded this file recently.</p></body></html>"""


@pytest.fixture
def drive(site, monkeypatch):
    """A server that stands in for every host; ``/download`` serves the file."""
    send = requests.Session.send

    def sent_here(session, request, **options):
        parts = urlsplit(request.url)
        assert parts.scheme == "https"
        request.url = f"{site.address}{parts.path}?{parts.query}"
        return send(session, request, **options | {"proxies": {}})

    monkeypatch.setattr(requests.Session, "send", sent_here)
    site.put("/download", CONTENT)
    return site


def fetched(path, digest=""):
    fetch_drive("abc", path, MOST, digest)
    return path.read_bytes()


def test_file_comes_behind_the_confirm_page_or_if_it_is_small_without(drive, path):
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE)]
    assert fetched(path, DIGEST) == CONTENT
    assert [request[1] for request in drive.requests] == ["/uc?id=abc", "/download?id=abc&confirm=t"]
    assert files(path) == ["a.zip", "a.zip.json"]
    drive.faults = [Fault(503, FILE), Fault(200, FILE, CONTENT)]
    assert fetched(path.with_name("b.zip")) == CONTENT


def test_later_run_goes_on_from_what_came_and_never_joins_two_versions(drive, path, one_attempt):
    for content in (CONTENT, CONTENT[::-1]):
        drive.put("/download", content)
        drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE, cut_after=CUT // 2)]
        with pytest.raises(InputError, match="what came is kept"):
            fetched(path)
    drive.faults = [Fault(200, HTML, CONFIRM), Fault(headers=FILE)]
    assert fetched(path) == CONTENT[::-1]
    assert drive.ranges_asked[-1] == f"bytes={CUT // 2}-"


@pytest.mark.parametrize(
    "fault, reason",
    [
        (Fault(200, HTML, QUOTA), r"Google Drive does not give it \(Too many users .*; try again in a day"),
        (Fault(404, FILE, b"no"), "404 Not Found"),
        (Fault(403, HTML, b"no"), "403 Forbidden"),
        (Fault(200, FILE, CONTENT + b"?"), "more than the 5,120,000 it may have"),
        (Fault(200, FILE, CONTENT[:-1] + b"?"), r"SHA-256 [0-9a-f]{64}, expected"),
    ],
)
def test_what_drive_refuses_is_told_at_once_with_another_way(fault, reason, drive, path):
    drive.faults = [fault]
    with pytest.raises(InputError, match=reason) as caught:
        fetched(path, DIGEST)
    assert "or open https://drive.google.com/uc?id=abc in a browser" in str(caught.value)
    assert "set data.source: path" in str(caught.value)
    assert len(drive.requests) == 1
    assert files(path) == []
