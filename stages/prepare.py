"""Decode and resize one part of the archive into memory-mappable arrays; say what was read and what left out."""

from hw1.archive.archive import Archive
from hw1.archive.parts import PARTS, prepare
from hw1.run.files import whole_file, whole_folder
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments


def main() -> None:
    args = stage_arguments(
        *(__doc__, "part", PARTS),
        archive="the archive",
        out="the folder to write",
        reading="the record to write of what was read",
    )
    params = load()
    with whole_folder(args.out) as draft, whole_file(args.reading) as record:
        reading = prepare(args.part, Archive(args.archive), params.prepare, draft)
        reading.save(record)
    print(f"prepare {args.part}: {reading.line}")


if __name__ == "__main__":
    run_stage(main)
