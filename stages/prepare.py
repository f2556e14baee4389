"""Decode and resize one part of the archive into memory-mappable arrays."""

import argparse
from pathlib import Path

from hw1.archive.archive import Archive
from hw1.archive.parts import PARTS
from hw1.run.files import whole_folder
from hw1.run.params import load
from hw1.run.supervision import run_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    args = parser.parse_args()
    params = load()
    with whole_folder(args.out) as draft:
        PARTS[args.part](Archive(args.archive), params.prepare, draft)


if __name__ == "__main__":
    run_stage(main)
