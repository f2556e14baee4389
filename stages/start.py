"""Leave the weights that a network of problem 1 or 3 starts from: ImageNet's, those of mini's labels, or none."""

import shutil

from hw1.classify.classification import TRAIN_COLUMNS, labels_recipe
from hw1.classify.classifiers import convnext_of_mini
from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.engine.weights import save_tensors
from hw1.run.errors import InputError
from hw1.run.files import whole_file
from hw1.run.parameters.params import ConvNeXt, load
from hw1.run.processes.launch import run_training
from hw1.run.processes.ranks import by_first
from hw1.run.processes.supervision import stage_arguments
from hw1.segment.segmenters import segmenter_of_mini

MODELS = {"P1B": "classify.B", "P3A": "segment.A", "P3B": "segment.B"}  # each with its section of params.yaml
UNLABELLED = "the archive has no p2_data/mini/train.csv; add it, or set weights: imagenet or none"


def main() -> None:
    args = stage_arguments(
        *(__doc__, "model", MODELS),
        data="the prepared mini",
        imagenet="ImageNet's weights, or a file without any",
        out="the weights to write",
        history="the CSV to write",
    )
    params, name = load(), args.model
    stage, model, training = f"start@{name}", params.starting[name], getattr(params.pretrain.start, name)
    if model.weights != "mini":  # ImageNet's, or the file without any, stay as they are; a history without epochs
        with by_first(whole_file, args.out) as weights, by_first(whole_file, args.history) as history:
            shutil.copyfile(args.imagenet, weights)
            history.write_text(",".join(TRAIN_COLUMNS) + "\n")
        return
    # The parameters that decide which weights the network can start from; the last sizes it.
    shaping = [f"{MODELS[name]}.{key}" for key in ("network", "weights", "width") if hasattr(model, key)]
    used = ("seed", "runtime", f"pretrain.start.{name}", *shaping)
    with begin(stage, params, used, (args.data,), {"weights": args.out, "history": args.history}) as run:
        if not run.manifest.classes:
            raise InputError(f"weights: mini ({stage}): {UNLABELLED}")
        of_mini = convnext_of_mini if isinstance(model, ConvNeXt) else segmenter_of_mini
        network, kept = of_mini(model, run.manifest.classes)
        network = run.machine.place(network, shaping[-1])
        recipe = labels_recipe(network, training, f"pretrain.start.{name}", args.data, run)
        rows = fit(recipe, run)
        save_tensors(kept(), run.drafts["weights"], {"stage": stage, "parameters": run.used})
        write_history(rows, recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
