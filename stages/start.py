"""Leave the weights that a network of problem 1 or 3 starts from: ImageNet's, those of mini's labels, or none."""

import shutil

from hw1.classify.classification import TRAIN_COLUMNS, mini_recipe
from hw1.classify.classifiers import convnext_of_mini
from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.engine.weights import save_tensors
from hw1.run.arguments import stage_arguments
from hw1.run.files import whole_file
from hw1.run.launch import run_training
from hw1.run.params import load
from hw1.run.ranks import by_first
from hw1.segment.segmenters import segmenter_of_mini

OF_MINI = {"classify": convnext_of_mini, "segment": segmenter_of_mini}
MODELS = {"P1B": ("classify", "B"), "P3A": ("segment", "A"), "P3B": ("segment", "B")}


def main() -> None:
    args = stage_arguments(
        *(__doc__, "model", MODELS),
        data="the prepared mini",
        imagenet="ImageNet's weights, or a file without any",
        out="the weights to write",
        history="the CSV to write",
    )
    params, (task, key) = load(), MODELS[args.model]
    model, section = getattr(getattr(params, task), key), f"pretrain.start.{args.model}"
    if model.weights != "mini":
        with by_first(whole_file, args.out) as weights, by_first(whole_file, args.history) as history:
            shutil.copyfile(args.imagenet, weights)
            history.write_text(",".join(TRAIN_COLUMNS) + "\n")
        return
    shape = [f"{task}.{key}.{name}" for name in ("network", "width") if hasattr(model, name)]
    writes = {"weights": args.out, "history": args.history}
    with begin(f"start@{args.model}", params, ("seed", "runtime", section, *shape), (args.data,), writes) as run:
        network, start = OF_MINI[task](model, run.manifest.classes)
        recipe = mini_recipe(network, getattr(params.pretrain.start, args.model), section, args.data, run)
        rows = fit(recipe, run)
        save_tensors(start(), run.drafts["weights"], {"stage": run.stage, "parameters": run.used})
        write_history(rows, recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
