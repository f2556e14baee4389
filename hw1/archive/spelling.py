"""Names of files as archives and tables spell them: made alike, and matched where the spellings differ."""

import collections
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

PARTS = ("p1_data", "p2_data", "p3_data")  # the course's folders
JUNK = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin")  # what systems leave in folders, in lower case
FEW = 5  # names that a line gives before it counts
PAIRED = re.compile(r"(.+)[-_. ](sat|mask)", re.IGNORECASE)


def plain(name: str) -> str:
    """A member's name with slashes, relative, without empty and ``.`` parts; "" for one that leaves its folder.

    Windows' programs write backslashes, some of tar's users absolute names.
    """
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/")).split("/") if part not in ("", ".")]
    return "" if ".." in parts else "/".join(parts)


def is_hidden(name: str) -> bool:
    """Of a file, or of a folder that it lies in: hidden, or a system's own."""
    return any(part.startswith(".") or part.lower() in JUNK for part in name.split("/"))


def roots(names: Iterable[str]) -> list[str]:
    """The folders, with a slash at their end, that the course's folders lie in; "" is the top."""
    found = {}
    for name in names:
        folders = name.split("/")[:-1]
        place = next((index for index, folder in enumerate(folders) if folder.lower() in PARTS), None)
        if place is not None and not is_hidden(name):
            found["".join(f"{folder}/" for folder in folders[:place])] = None
    return list(found)


def pair_of(name: str) -> tuple[str, str] | None:
    """The id and the kind, ``sat`` or ``mask``, of a tile's or a mask's file name; None of any other."""
    named = PAIRED.fullmatch(PurePosixPath(name).stem)
    return (named[1], named[2].lower()) if named else None


def pairs(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Kind -> id -> file name, of the tiles (``sat``) and the masks (``mask``) among file names.

    Raises:
        ValueError: two files are one tile's, or two of its mask.
    """
    found: dict[str, dict[str, str]] = {"sat": {}, "mask": {}}
    for name in sorted(names):
        if pair := pair_of(name):
            tile, kind = pair
            if tile in found[kind]:
                raise ValueError(f"{shown(name)} and {shown(found[kind][tile])} are of one tile; remove one")
            found[kind][tile] = name
    return found


def matched(wanted: Sequence[str], there: Sequence[str]) -> dict[str, str]:
    """For each name of a table the file of ``there`` it means, as far as one can tell.

    The same name; else the same without folders; else but for its case or the form of its accents; else but for its
    ending too. A spelling counts where one name and one file alone have it.
    """
    found = {name: name for name in set(wanted).intersection(there)}
    for spelling in (_base, _folded, _stem):
        taken = set(found.values())
        names = _by(spelling, (name for name in wanted if name not in found))
        files = _by(spelling, (name for name in there if name not in taken))
        found |= {
            names[key][0]: files[key][0] for key in names.keys() & files.keys() if _single(names[key], files[key])
        }
    return found


def spelt_otherwise(found: Mapping[str, str], table: str) -> list[str]:
    """What must be told of the names that :func:`matched` found under another spelling: a line, or none."""
    other = sorted(f"{name} for {file}" for name, file in found.items() if name != file)
    return [f"{table} spells {len(other):,} names otherwise: {few(other)}"] if other else []


def _by(spelling: Callable[[str], str], names: Iterable[str]) -> dict[str, list[str]]:
    found = collections.defaultdict(list)
    for name in names:
        found[spelling(name)].append(name)
    return found


def _single(*found: list[str]) -> bool:
    return all(len(names) == 1 for names in found)


def _base(name: str) -> str:
    return PurePosixPath(plain(name)).name


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", _base(name)).casefold()


def _stem(name: str) -> str:
    return PurePosixPath(_folded(name)).stem


def shown(name: str) -> str:
    """A name in a line of text: what is not printable is escaped."""
    return name if name.isprintable() else ascii(name)


def few(names: Sequence[str]) -> str:
    """The first few of some names, and how many more there are."""
    more = f" and {len(names) - FEW:,} more" if len(names) > FEW else ""
    return ", ".join(map(shown, names[:FEW])) + more
