"""What the headers of pictures say: formats and sizes, and which are none."""

import collections
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from hw1.archive.pictures import PictureError, in_threads, opened
from hw1.run.errors import InputError

CHUNK = 32  # pictures a thread looks at
SHOWN = 5  # faults that are told one by one
Item = TypeVar("Item")


@dataclass
class Headers:
    """How many pictures are of each format and of each size (width, height), and a line for each that is none."""

    formats: collections.Counter = field(default_factory=collections.Counter)
    sizes: collections.Counter = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """Such as "4,500 PNG, each 32 x 32"."""
        formats = ", ".join(f"{count:,} {kind}" for kind, count in self.formats.most_common())
        return f"{formats}, {size_range(self.sizes)}" if formats else "no picture"


def headers_of(items: Sequence[Item], read: Callable[[Item], bytes], fault: Callable[[Item, str], str]) -> Headers:
    """The headers of all items, by several threads; ``fault`` words what is wrong with one."""

    def header(item: Item) -> tuple[str, tuple[int, int]] | str:
        try:
            picture = opened(read(item))
        except PictureError as error:
            return fault(item, str(error))
        except InputError as error:
            return str(error)
        return picture.format, picture.size

    found = Headers()
    for seen in in_threads(header, items, CHUNK):
        if isinstance(seen, str):
            found.faults.append(seen)
        else:
            found.formats[seen[0]] += 1
            found.sizes[seen[1]] += 1
    return found


def size_range(sizes: Mapping[tuple[int, int], int]) -> str:
    """The sizes of pictures in words, the smallest and the largest by their number of pixels."""
    ordered = [f"{width} x {height}" for width, height in sorted(sizes, key=lambda size: (size[0] * size[1], size))]
    return f"{len(ordered):,} sizes from {ordered[0]} to {ordered[-1]}" if ordered[1:] else f"each {ordered[0]}"


def class_range(counts: Mapping[int, int], what: str) -> str:
    """Classes by how many ``what`` each has."""
    gaps = list(islice((label for label in range(max(counts)) if label not in counts), SHOWN + 1))  # of a billion, too
    more = " and more" if len(gaps) > SHOWN else ""
    without = f" (none of {', '.join(map(str, gaps[:SHOWN]))}{more})" if gaps else ""
    fewest, most = min(counts.values()), max(counts.values())
    each = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    return f"{len(counts)} classes, {min(counts)} to {max(counts)}{without}, {each} {what} each"


def refusals(faults: Sequence[str]) -> list[str]:
    """A line for each of the first few, and one for how many more there are."""
    more = [f"refused: {len(faults) - SHOWN:,} more like these"] if len(faults) > SHOWN else []
    return [f"refused: {fault}" for fault in faults[:SHOWN]] + more
