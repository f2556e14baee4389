"""Say what the pipeline would take from a path, without running anything: an archive (zip, tar or folder in the
course's layout), a csv of labels, a folder of pictures, or a file of weights.

Exit status: 0 all of it would be taken, 1 something would be refused, and the lines say what.
"""

import argparse
import collections
import sys
from pathlib import Path

from hw1.archive.pictures import PictureError
from hw1.archive.spelling import DELIMITERS, TableError, class_number, pairs, read_table, shown
from hw1.inspect.layout import class_range, course_lines, header_lines, holds_course, refusals
from hw1.predict.reading import pictures_in, read_bytes
from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage

TABLES, WEIGHTS = (".csv", ".tsv", ".txt"), (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.inspect", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path, help="an archive, a folder, a csv or a file of weights")
    lines, refused = lines_of(parser.parse_args().path)
    print("\n".join(lines))
    if refused:
        print(f"{refused} would be refused", file=sys.stderr)
        sys.exit(1)


def lines_of(path: Path) -> tuple[list[str], int]:
    """Say what there is to say of a path, and how much of it would be refused."""
    if path.is_dir():
        return course_lines(path) if holds_course(path) else _pictures_lines(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() in TABLES:
        return _table_lines(path)
    if path.suffix.lower() in WEIGHTS and not holds_course(path):
        return [f"{path}: {_weights_line(path)}"], 0
    return course_lines(path)


def _table_lines(path: Path) -> tuple[list[str], int]:
    """Columns, lines and labels of a csv, and how many labels would be refused."""
    try:
        table = read_table(read_bytes(path), ("filename",))
    except (PictureError, TableError) as error:
        raise InputError(f"{path}: {error}") from None
    lines = [f"{path}: {len(table.rows):,} lines, separated by {DELIMITERS[table.delimiter]}", *table.notes]
    if "label" not in table.columns:
        return [*lines, "no labels: to predict by, not to train or score on"], 0
    labels, faults = collections.Counter(), []
    for row in table.rows:
        try:
            labels[class_number(row.label)] += 1
        except TableError as error:
            faults.append(f"line {row.line}: {error}")
    lines += [class_range(labels, "lines")] if labels else []
    return [*lines, *refusals(faults)], len(faults)


def _pictures_lines(path: Path) -> tuple[list[str], int]:
    """Formats and sizes of a folder's pictures, how they pair as tiles and masks, and how many are none."""
    pictures, reading = pictures_in(path)
    counts, faults, parts = [], [], {"": pictures}
    try:
        tiles, masks = pairs([file.name for file in pictures]).values()
    except ValueError as error:
        faults.append(f"{path}: {error}")
    else:
        if tiles or masks:
            counts.append(f"{len(tiles):,} tiles, {len(masks):,} masks, {len(tiles.keys() & masks.keys()):,} pairs")
            kinds = dict.fromkeys(tiles.values(), "tiles") | dict.fromkeys(masks.values(), "masks")
            parts = {", tiles": [], ", masks": [], ", others": []}
            for file in pictures:
                parts[f", {kinds.get(file.name, 'others')}"].append(file)
    lines = []
    for kind, files in parts.items():
        if files:
            line, wrong = header_lines(files, read_bytes, lambda file, what: f"{shown(str(file))}: {what}")
            lines.append(f"{path}{kind}: {line}")
            faults += wrong
    return [*lines, *counts, *reading.reasons(), *refusals(faults)], len(faults)


def _weights_line(path: Path) -> str:
    """The numbers in a file of weights, and its first names."""
    from hw1.byol.given import read_tensors  # only here: torch takes seconds

    tensors = read_tensors(path)
    kinds = ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))
    numbers = sum(tensor.numel() for tensor in tensors.values())
    return f"{len(tensors):,} tensors, {numbers:,} numbers ({kinds}), such as {', '.join(list(tensors)[:4])}"


if __name__ == "__main__":
    run_stage(main)
