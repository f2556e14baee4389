"""Leave ImageNet's weights for each network of problems 1 and 3 that starts from them, an empty file for the others."""

from hw1.run.files import whole_file
from hw1.run.parameters.params import load
from hw1.run.processes.supervision import run_stage, stage_arguments
from hw1.sources.imagenet import write_start


def main() -> None:
    args = stage_arguments(__doc__, out="the folder of weights to write")
    for name, section in load().starting.items():
        with whole_file(args.out / f"{name}.safetensors") as draft:
            write_start(section.network, section.weights, draft)


if __name__ == "__main__":
    run_stage(main)
