"""Fine-tune one setting of problem 2: its backbone, whole or frozen, under one linear classifier."""

from hw1.classify.classification import p2_recipe
from hw1.engine.loop import fit, write_history
from hw1.engine.recipe import begin
from hw1.run.parameters.params import load
from hw1.run.processes.launch import run_training
from hw1.run.processes.supervision import stage_arguments


def main() -> None:
    args = stage_arguments(
        *(__doc__, "setting"),
        data="the prepared office",
        backbone="the weights to start from",
        out="the folder of weights to write",
        history="the CSV to write",
    )
    params, stage = load(), f"finetune@{args.setting}"
    params.setting(args.setting)
    used = ("seed", "lr", "runtime", "backbone", "finetune", f"settings.{args.setting}")
    reads, writes = (args.data, args.backbone), {"weights": args.out, "history": args.history}
    with begin(stage, params, used, reads, writes) as run:
        recipe = p2_recipe(params, args.setting, args.data, args.backbone, run)
        write_history(fit(recipe.keeping([recipe.training.epochs], run), run), recipe.columns, run)


if __name__ == "__main__":
    run_training(main)
