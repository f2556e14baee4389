"""The size of the functions: short enough to be read at one look, with few enough arguments to be called rightly."""

import ast

import pytest
from closure import ROOT

CODE = sorted(
    path.relative_to(ROOT).as_posix() for folder in ("hw1", "stages") for path in (ROOT / folder).rglob("*.py")
)
LINES, PARAMETERS = 60, 7


def functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Its decorators aside, its docstring with it."""
    return function.end_lineno - function.lineno + 1


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """What a caller may hand over: ``*rest`` and ``**rest`` count as one each, self, cls and autograd's ctx as none."""
    of = function.args
    named = [argument.arg for argument in (*of.posonlyargs, *of.args)]
    bound = named[:1] in (["self"], ["cls"], ["ctx"])
    return len(named) - bound + len(of.kwonlyargs) + (of.vararg is not None) + (of.kwarg is not None)


@pytest.mark.parametrize("path", CODE)
def test_no_function_is_over_60_lines_long(path):
    source = (ROOT / path).read_text()
    assert {each.name: lines(each) for each in functions(source) if lines(each) > LINES} == {}


@pytest.mark.parametrize("path", CODE)
def test_no_function_has_more_than_7_parameters(path):
    source = (ROOT / path).read_text()
    assert {each.name: parameters(each) for each in functions(source) if parameters(each) > PARAMETERS} == {}


def test_lines_and_parameters_are_counted_as_said():
    source = """
class Network:
    @property
    def depth(self):
        return 1

    async def train(self, a, /, b, *rest, c=1, **more):
        \"\"\"Two lines

        and a blank one.\"\"\"

def alone(): ...
"""
    counted = {each.name: (lines(each), parameters(each)) for each in functions(source)}
    assert counted == {"depth": (2, 0), "train": (4, 5), "alone": (1, 0)}
