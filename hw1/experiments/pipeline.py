"""What DVC's experiments left, as the commands of this package read it.

dvc is imported in the functions that need it: reading results must not wait for it.
"""

from typing import Any

from hw1.repro.graph import opened
from hw1.run.errors import InputError


def finished() -> list[str]:
    """Names of the finished experiments of all commits."""
    with opened() as repo:
        return sorted({name for names in repo.experiments.ls(all_commits=True).values() for name, _ in names})


def text_of(path: str, experiment: str) -> str:
    """A file as an experiment left it; InputError where it has none, or DVC takes the name for several."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        return dvc.api.read(path, rev=experiment)
    except (DvcException, OSError) as error:
        raise InputError(f"{path} of experiment {experiment}: {error}") from None


def parameters_of(experiment: str | None = None) -> dict[str, Any]:
    """params.yaml of an experiment, or of the working tree; InputError as for :func:`text_of`."""
    import dvc.api
    from dvc.exceptions import DvcException

    try:
        return dvc.api.params_show("params.yaml", rev=experiment)
    except (DvcException, OSError) as error:
        raise InputError(f"params.yaml of {experiment or 'the working tree'}: {error}") from None
