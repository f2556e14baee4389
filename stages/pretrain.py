"""Pre-train the backbone of problem 2: supervised (by labels, or given) or byol (without labels)."""

from hw1.byol.pretraining import METHODS, given_weights, starting_backbone, write_outputs
from hw1.byol.probes import Monitor
from hw1.engine.loop import fit
from hw1.engine.recipe import begin
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_training
from hw1.run.processes.supervision import stage_arguments


def main() -> None:
    args = stage_arguments(
        *(__doc__, "method", METHODS),
        data="the prepared mini",
        probe="the prepared office, to look at the features with",
        start="the weights to start from",
        out="the backbone's weights to write",
        history="the CSV to write",
        metrics="the JSON of headline numbers to write",
    )
    params, method, section = load(), METHODS[args.method], f"pretrain.{args.method}"
    stage, used = f"pretrain@{args.method}", ("seed", "runtime", "backbone", "pretrain.probes", section)
    reads = (args.data, args.probe, args.start)
    writes = {"weights": args.out, "history": args.history, "metrics": args.metrics}
    with begin(stage, params, used, reads, writes) as run:
        given = args.method == "supervised" and given_weights(args.data)
        backbone = starting_backbone(params.backbone, given, args.start, run.machine)
        monitor = Monitor(backbone, args.data, args.probe, params.pretrain.probes, run.machine)
        rows = [] if given else fit(method.recipe(backbone, params, args.data, monitor, run), run)
        write_outputs(rows, backbone, method, monitor, run)


if __name__ == "__main__":
    run_training(main)
