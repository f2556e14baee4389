"""Leave the archive, its SHA-256 and a record of its source on disk."""

from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments
from hw1.sources.sources import fetch


def main() -> None:
    args = stage_arguments(__doc__, out="the archive to write")
    params = load()
    fetch(params.data, params.synthetic, args.out)


if __name__ == "__main__":
    run_stage(main)
