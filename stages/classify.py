"""Train a classifier of problem 1: A, the small CNN, or B, ConvNeXt."""

from hw1.classify.classification import p1_recipe
from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.engine.weights import picture_epochs
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_training
from hw1.run.processes.supervision import stage_arguments


def main() -> None:
    args = stage_arguments(
        *(__doc__, "model", "AB"),
        data="the prepared p1",
        start="ImageNet's weights, or a file without any",
        out="the folder of weights to write",
        history="the CSV to write",
    )
    stage, used = f"classify@{args.model}", ("seed", "runtime", f"classify.{args.model}")
    reads, writes = (args.data, args.start), {"weights": args.out, "history": args.history}
    with begin(stage, params := load(), used, reads, writes) as run:
        recipe = p1_recipe(params, args.model, args.data, args.start, run)
        last = recipe.training.epochs
        kept = picture_epochs(last) if args.model == "A" else [last]  # t-SNE shows A only
        write_history(fit(recipe.keeping(kept, run), run), recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
