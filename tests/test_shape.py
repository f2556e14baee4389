"""The shape of the code: functions of a size to be read at one look, docstrings and names that say what they are of."""

import ast
import re

from closure import ROOT

LINES, PARAMETERS = 60, 7
NO_BEGIN = {"What", "Whether", "Of", "How", "Which", "Where", "When"}  # of a docstring: a verb or a noun begins it
NO_NAMES = {"found", "there", "here", "told", "own", "of", "both"}  # they say nothing of what a variable holds
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
PATHS = sorted(path for folder in ("hw1", "stages") for path in (ROOT / folder).rglob("*.py"))
NODES = [(path.name, node) for path in PATHS for node in ast.walk(ast.parse(path.read_text()))]


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count what a caller may hand over: ``*rest`` and ``**rest`` are one each, self, cls and autograd's ctx none."""
    taken = function.args
    named = [argument.arg for argument in (*taken.posonlyargs, *taken.args)]
    bound = named[:1] in (["self"], ["cls"], ["ctx"])
    return len(named) - bound + len(taken.kwonlyargs) + (taken.vararg is not None) + (taken.kwarg is not None)


def test_no_function_is_over_60_lines_long_or_has_more_than_7_parameters():
    sizes = [
        (file, node.name, node.end_lineno - node.lineno + 1, parameters(node))
        for file, node in NODES
        if isinstance(node, FUNCTIONS)
    ]
    assert len(sizes) > 500
    assert [size for size in sizes if size[2] > LINES or size[3] > PARAMETERS] == []


def test_parameters_are_counted_as_said():
    source = "def train(self, a, /, b, *rest, c=1, **more): ..."
    assert parameters(ast.parse(source).body[0]) == 5


def test_docstring_begins_with_a_verb_or_a_noun():
    kinds = (*FUNCTIONS, ast.ClassDef, ast.Module)
    texts = [(file, ast.get_docstring(node) or "") for file, node in NODES if isinstance(node, kinds)]
    assert [(file, text) for file, text in texts if re.match(r"\w*", text)[0] in NO_BEGIN] == []


def test_name_says_what_it_holds():
    stored = {(file, node.arg) for file, node in NODES if isinstance(node, ast.arg)}
    stored |= {
        (file, node.id) for file, node in NODES if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert [(file, name) for file, name in sorted(stored) if name in NO_NAMES] == []
