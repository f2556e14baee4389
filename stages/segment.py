"""Train a segmenter of problem 3: A, VGG16-FCN32s, or B, DeepLabv3-ResNet50."""

from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.engine.weights import picture_epochs
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_training
from hw1.run.processes.supervision import stage_arguments
from hw1.segment.segmentation import p3_recipe


def main() -> None:
    args = stage_arguments(
        *(__doc__, "model", "AB"),
        data="the prepared p3",
        start="ImageNet's weights, or a file without any",
        out="the folder of weights to write",
        history="the CSV to write",
    )
    stage, used = f"segment@{args.model}", ("seed", "runtime", f"segment.{args.model}")
    reads, writes = (args.data, args.start), {"weights": args.out, "history": args.history}
    with begin(stage, params := load(), used, reads, writes) as run:
        recipe = p3_recipe(params, args.model, args.data, args.start, run)
        rows = fit(recipe.keeping(picture_epochs(recipe.training.epochs), run), run)
        write_history(rows, recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
