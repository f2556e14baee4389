"""Leave the weights that a network of problem 1 or 3 starts from: ImageNet's, those of mini's labels, or none."""

from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.engine.weights import save_tensors
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_training
from hw1.run.processes.supervision import stage_arguments
from hw1.segment.starting import MODELS, pass_on, shaping, start_recipe


def main() -> None:
    args = stage_arguments(
        *(__doc__, "model", MODELS),
        data="the prepared mini",
        imagenet="ImageNet's weights, or a file without any",
        out="the weights to write",
        history="the CSV to write",
    )
    params, name = load(), args.model
    writes = {"weights": args.out, "history": args.history}
    if params.starting[name].weights != "mini":
        return pass_on(args.imagenet, writes)
    used = ("seed", "runtime", f"pretrain.start.{name}", *shaping(params, name))
    with begin(f"start@{name}", params, used, (args.data,), writes) as run:
        recipe, kept = start_recipe(params, name, args.data, run)
        rows = fit(recipe, run)
        save_tensors(kept(), run.drafts["weights"], {"stage": run.stage, "parameters": run.used})
        write_history(rows, recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
