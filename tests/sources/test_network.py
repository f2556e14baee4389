"""Downloads from a server on 127.0.0.1: whole or resumed, or one error that names the address and leaves no file."""

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from web_server import Fault, serve

from hw1.run.errors import InputError
from hw1.sources import network
from hw1.sources.network import changed, download

CONTENT = bytes(range(256)) * 20_000  # 5,120,000 bytes
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MOST = len(CONTENT)
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


def files(path):
    return sorted(entry.name for entry in path.parent.iterdir())


@pytest.mark.parametrize("digest", ["", DIGEST, DIGEST[:15], f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_whole_file_of_the_expected_hash_is_left_with_its_version(digest, url, path):
    download(url, path, MOST, digest)
    assert path.read_bytes() == CONTENT
    assert files(path) == ["a.zip", "a.zip.json"]


def test_file_that_is_there_is_not_fetched_again(site, url, path):
    download(url, path, MOST)
    asked = len(site.requests)
    download(url, path, MOST)
    assert len(site.requests) == asked


def test_cut_connections_are_resumed_where_they_ended(site, url, path):
    site.faults = [Fault(cut_after=2_000_000), Fault(cut_after=1_000_000), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT
    assert site.ranges_asked == ["", "bytes=2000000-", "bytes=3000000-"]


def test_later_process_goes_on_from_what_came(site, url, path, monkeypatch):
    monkeypatch.setattr(network, "ATTEMPTS", 1)
    site.faults = [Fault(cut_after=1_000_000)]
    with pytest.raises(InputError, match=r"the connection ended after 1,000,000 of 5,120,000 bytes.*what came is kept"):
        download(url, path, MOST)
    assert not path.exists()
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT
    assert site.ranges_asked == ["", "bytes=1000000-"]


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


def test_server_without_ranges_sends_it_whole_again(site, url, path):
    site.ranges, site.faults = False, [Fault(cut_after=1_000_000), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


def test_changed_etag_starts_anew_and_never_joins_two_versions(site, url, path, monkeypatch):
    monkeypatch.setattr(network, "ATTEMPTS", 1)
    site.faults = [Fault(cut_after=1_000_000)]
    with pytest.raises(InputError):
        download(url, path, MOST)
    site.put("/a.zip", CONTENT[::-1])
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT[::-1]


def test_server_that_ignores_if_range_does_not_join_two_versions(site, url, path):
    other = CONTENT[::-1]
    rest = {"ETag": '"new"', "Content-Range": f"bytes 1000000-{MOST - 1}/{MOST}"}
    site.faults = [Fault(cut_after=1_000_000), Fault(206, rest, other[1_000_000:]), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


def test_without_etag_or_date_nothing_is_resumed(site, url, path):
    bare = {"ETag": "", "Last-Modified": ""}
    site.faults = [Fault(headers=bare, cut_after=1_000_000), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT
    assert site.ranges_asked == ["", ""]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_faults_are_tried_again(status, site, url, path):
    site.faults = [Fault(status), Fault(status), None]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT


def test_server_is_asked_again_when_it_says(site, url, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(network.time, "sleep", pauses.append)
    site.faults = [Fault(429, {"Retry-After": "7"}), Fault(503, {"Retry-After": "100000"}), None]
    download(url, path, MOST)
    assert pauses == [7, network.MAX_PAUSE]


def test_pauses_double(site, url, path, monkeypatch):
    pauses = []
    monkeypatch.setattr(network.time, "sleep", pauses.append)
    site.faults = [Fault(500)] * 4 + [None]
    download(url, path, MOST)
    assert pauses == [0.01, 0.02, 0.04, 0.08]


@pytest.mark.parametrize("status, reason", [(404, "404 Not Found"), (403, "403 Forbidden"), (410, "410 Gone")])
def test_lasting_faults_are_told_at_once(status, reason, site, url, path):
    site.faults = [Fault(status)]
    with pytest.raises(InputError, match=f"{url}: {reason}"):
        download(url, path, MOST)
    assert len(site.requests) == 1
    assert "a.zip" not in files(path)


def test_server_that_stays_away_is_told_once_it_was_tried_enough(url, path, monkeypatch):
    monkeypatch.setattr(network, "PAUSE", 0)
    with pytest.raises(InputError, match=r"Connection refused, 6 times in a row; what came is kept, try later"):
        download("http://127.0.0.1:9/a.zip", path, MOST)


def test_wrong_hash_is_named_and_leaves_nothing(url, path):
    with pytest.raises(InputError, match=f"{url}: SHA-256 [0-9a-f]{{64}}, expected 00ff"):
        download(url, path, MOST, "sha256:00ff")
    assert files(path) == []


def test_announced_length_beyond_the_bound_is_refused_before_it_comes(url, path):
    with pytest.raises(InputError, match="5,120,000 bytes, more than the 5,119,999 it may have"):
        download(url, path, MOST - 1)


def test_endless_answer_is_cut_off(site, url, path):
    site.faults = [Fault(200, {"Content-Length": "", "Connection": "close"}, CONTENT)]
    with pytest.raises(InputError, match="more than the 3,000,000 bytes"):
        download(url, path, 3_000_000)
    assert not path.exists()


def test_more_bytes_than_announced_are_not_taken(site, url, path):
    site.faults = [Fault(200, {"Content-Length": "10"}, CONTENT)]
    download(url, path, MOST)
    assert path.read_bytes() == CONTENT[:10]


def test_less_than_announced_is_told_after_it_was_tried_enough(site, url, path):
    site.faults = [Fault(headers={"Content-Length": "6000000"})] + [Fault(416)] * 20
    with pytest.raises(InputError, match="6 times in a row"):
        download(url, path, 2 * MOST)
    assert not path.exists()


def test_full_disk_is_told_before_the_bytes_come(url, path, monkeypatch):
    usage = network.shutil.disk_usage("/")
    monkeypatch.setattr(network.shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(InputError, match="5,120,000 bytes to come, but 1,000 free on the disk"):
        download(url, path, MOST)


def test_redirect_is_followed(site, url, path):
    site.faults = [Fault(302, {"Location": url}), None]
    download(f"{site.address}/old.zip", path, MOST)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "http://example.org/a"])
def test_redirect_to_what_is_not_fetched_is_refused(target, site, path):
    site.faults = [Fault(302, {"Location": target})]
    with pytest.raises(InputError, match=r"not https|not allowed"):
        download(f"{site.address}/a.zip", path, MOST)
    assert not path.exists()


def test_redirect_from_elsewhere_to_this_machine_is_refused(site, url):
    request = network.urllib.request.Request("https://example.org/a.zip")
    with pytest.raises(InputError, match="redirects to this machine"):
        network._Redirects(trusted=True).redirect_request(request, None, 302, "Found", {}, url)


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/passwd", "ftp://example.org/a", "/etc/passwd"])
def test_other_schemes_are_refused(url, path):
    with pytest.raises(InputError, match="not https"):
        download(url, path, 10)
    assert not path.parent.exists()


def test_http_is_taken_where_a_whole_sha256_proves_what_comes():
    network._require_safe("http://example.org/a", trusted=True)
    with pytest.raises(InputError, match="give its SHA-256 to fetch it by http"):
        network._require_safe("http://example.org/a", trusted=False)


def test_two_at_once_fetch_it_once_and_whole(site, url, path):
    code = CODE.format(url, str(path), MOST)
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert path.read_bytes() == CONTENT
    assert len(site.ranges_asked) == 1


def test_change_on_the_server_is_noticed(site, url, path):
    download(url, path, MOST)
    assert not changed(path)
    site.put("/a.zip", CONTENT[::-1])
    assert changed(path)


def test_server_that_is_away_counts_as_unchanged(url, path, tmp_path):
    download(url, path, MOST)
    record = Path(f"{path}.json")
    record.write_text(record.read_text().replace(url, "http://127.0.0.1:9/a.zip"))
    assert not changed(path)
