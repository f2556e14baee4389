"""The size of the functions: short enough to be read at one look, with few enough arguments to be called rightly."""

import ast

from closure import ROOT

LINES, PARAMETERS = 60, 7


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count what a caller may hand over: ``*rest`` and ``**rest`` are one each, self, cls and autograd's ctx none."""
    taken = function.args
    named = [argument.arg for argument in (*taken.posonlyargs, *taken.args)]
    bound = named[:1] in (["self"], ["cls"], ["ctx"])
    return len(named) - bound + len(taken.kwonlyargs) + (taken.vararg is not None) + (taken.kwarg is not None)


def test_no_function_is_over_60_lines_long_or_has_more_than_7_parameters():
    paths = [path for folder in ("hw1", "stages") for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > 80
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                size = (node.end_lineno - node.lineno + 1, parameters(node))
                assert size[0] <= LINES and size[1] <= PARAMETERS, (path, node.name, size)


def test_parameters_are_counted_as_said():
    source = "def train(self, a, /, b, *rest, c=1, **more): ..."
    assert parameters(ast.parse(source).body[0]) == 5
