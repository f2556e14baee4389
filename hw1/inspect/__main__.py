"""Say what the pipeline would take from a path, without running anything: an archive (zip, tar or folder in the
course's layout), a csv of labels, a folder of pictures, or a file of weights.

Exit status: 0 all of it would be taken, 1 something would be refused, and the lines say what.
"""

import argparse
import sys
from pathlib import Path

from hw1.inspect.layout import course_lines, holds_course
from hw1.inspect.single import pictures_lines, table_lines, weights_lines
from hw1.run.errors import InputError
from hw1.run.processes.supervision import run_stage

TABLES, WEIGHTS = (".csv", ".tsv", ".txt"), (".pt", ".pth", ".bin", ".ckpt", ".tar", ".safetensors")


def lines_of(path: Path) -> tuple[list[str], int]:
    """What there is to say of a path, and how much of it would be refused."""
    if path.is_dir():
        return course_lines(path) if holds_course(path) else pictures_lines(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    if path.suffix.lower() in TABLES:
        return table_lines(path)
    if path.suffix.lower() in WEIGHTS and not holds_course(path):
        return weights_lines(path)
    return course_lines(path)


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


if __name__ == "__main__":
    run_stage(main)
