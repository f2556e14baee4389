"""The course's archive from Google Drive, by gdown: resumed, tried again, its refusals explained."""

import sys
from contextlib import suppress
from pathlib import Path

from hw1.run.errors import InputError
from hw1.run.files import sole_folder
from hw1.sources.network import CHUNK, PASSING, TIMEOUT, PassingFault, persist, require_digest

TERMS = (
    "The course's archive is for its homework. Its pictures are CIFAR-100's, Mini-ImageNet's (ImageNet's terms: "
    "research and education without profit), Office-Home's (the same) and DeepGlobe's (its challenge's terms)."
)


def fetch_drive(file_id: str, path: Path, most: int, digest: str = "") -> None:
    """Fetch a public file of Google Drive to ``path``; nothing if ``path`` is there.

    ``most`` bytes and ``digest`` are as for :func:`hw1.sources.network.download`. What has come waits in a locked
    folder beside ``path``.

    Raises:
        InputError: Drive does not give it (quota, not public, gone), a fault that lasts, or other bytes.
    """
    what = f"Google Drive file {file_id}"
    with sole_folder(path.with_name(f".{path.name}.part"), empty=False) as folder:
        content = folder / path.name
        try:
            if not path.is_file():  # as it is where another process fetched it while this one waited
                persist(what, lambda: _attempt(file_id, content, most))
                require_digest(content, digest, what)
                content.replace(path)
        except InputError:
            content.unlink(missing_ok=True)  # other bytes than expected; a part has another name
            raise
        finally:
            with suppress(OSError):  # not empty: a part is kept
                folder.rmdir()


def _attempt(file_id: str, content: Path, most: int) -> None:
    import gdown  # only here: it takes half a second to import, and only this source needs it
    import requests

    before = _size(content)

    def bound(size: int, total: int | None) -> None:
        if max(size, total or 0) > most:
            raise InputError(f"Google Drive file {file_id}: more than the {most:,} bytes it may have")

    try:
        gdown.download(
            id=file_id,
            output=str(content),
            resume=True,
            timeout=TIMEOUT,
            quiet=not sys.stderr.isatty(),
            use_cookies=False,
            progress=bound,
        )
    except gdown.exceptions.FileURLRetrievalError as error:
        raise InputError(_refusal(file_id, content.name, str(error))) from None
    except requests.exceptions.HTTPError as error:
        status = error.response.status_code
        if status not in PASSING:
            raise InputError(_refusal(file_id, content.name, f"{status} {error.response.reason}")) from None
        raise PassingFault(f"{status} {error.response.reason}") from None
    except requests.exceptions.ConnectionError:
        raise PassingFault("no connection to Google Drive") from None
    except requests.exceptions.Timeout:
        raise PassingFault(f"no answer from Google Drive in {TIMEOUT:.0f} s") from None
    except (gdown.exceptions.DownloadError, requests.exceptions.RequestException) as error:
        raise PassingFault(str(error).splitlines()[0], progress=_size(content) >= before + CHUNK) from None


def _size(content: Path) -> int:
    """Bytes of gdown's part of ``content``, which has a name of its own."""
    return sum(path.stat().st_size for path in content.parent.glob(f"{content.name}*.part"))


def _refusal(file_id: str, name: str, reason: str) -> str:
    text = " ".join(reason.split())
    quota = "quota" in text.lower() or "too many users" in text.lower() or "many accesses" in text.lower()
    cause = "its daily quota is used up or it is not public" if quota else text[:200]
    return (
        f"Google Drive does not give file {file_id} ({cause}); try again in a day, or open "
        f"https://drive.google.com/uc?id={file_id} in a browser, save it as {name} and set data.source: path, "
        f"data.path: {name}"
    )
