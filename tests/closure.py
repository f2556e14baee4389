"""The project's files that a module needs: itself and, transitively, every hw1 module it imports."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def module_file(name: str) -> Path | None:
    """The project's file of a dotted module name, or None for a folder or a foreign package."""
    path = ROOT / f"{name.replace('.', '/')}.py"
    return path if name.startswith(("hw1", "stages")) and path.is_file() else None


def imported_names(path: Path) -> set[str]:
    """Dotted names in every import statement of a file, those inside functions included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def import_closure(module: str) -> set[str]:
    """Paths, relative to the root, of ``module``, its packages and all project modules they import, directly or not."""
    waiting, found = [module], set()
    while waiting:
        name = waiting.pop()
        waiting += [f"{name.rpartition('.')[0]}.__init__"] if "." in name and not name.endswith("__init__") else []
        path = module_file(name)
        if path is not None and path not in found:
            found.add(path)
            waiting += imported_names(path)
    return {path.relative_to(ROOT).as_posix() for path in found}
