"""Leave the archive, its SHA-256 and a record of its source on disk."""

import argparse
from pathlib import Path

from hw1.run.params import load
from hw1.run.supervision import run_stage
from hw1.sources.sources import fetch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the archive to write")
    args = parser.parse_args()
    params = load()
    fetch(params.data, params.synthetic, args.out)


if __name__ == "__main__":
    run_stage(main)
