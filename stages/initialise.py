"""Draw the seeded weights that every backbone of problem 2 starts from, and leave a file of none for problem 1's A."""

from hw1.classify.classifiers import build_backbone
from hw1.engine.weights import save_tensors, save_weights
from hw1.images.machine import start
from hw1.run.parameters.params import flat, load
from hw1.run.processes.supervision import run_stage, stage_arguments


def main() -> None:
    args = stage_arguments(__doc__, out="the backbone's weights to write", none="the file without weights to write")
    params = load()
    start(params.runtime, params.seed)
    used = flat(params, "seed", "runtime", "backbone")
    metadata = {"stage": "initialise", "network": params.backbone, "parameters": used}
    save_weights(build_backbone(params.backbone), args.out, metadata)
    save_tensors({}, args.none, {"stage": "initialise"})


if __name__ == "__main__":
    run_stage(main)
