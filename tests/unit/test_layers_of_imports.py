"""Who may import whom: lower parts of the package know nothing of higher ones, nor parts side by side of each other."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "samspl"
LAYERS = (
    ("errors", "assets"),
    ("config",),
    ("train_config",),
    ("imaging",),
    ("preprocess", "postprocess", "targets"),
    ("models", "data", "metrics", "losses", "report", "draw", "predictions"),
    ("html_report",),
    ("checkpoint", "evaluation"),
    ("backends",),  # opens weights files
    ("inference", "export", "training"),
    ("web",),
    ("cli",),  # starts the page
)
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("samspl."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "samspl":
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(a.name.split(".")[1] for a in node.names if a.name.startswith("samspl."))
    return {part for part in found if part in LEVEL}


def test_every_part_of_the_package_has_a_layer():
    parts = {part_of(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert parts <= set(LEVEL)


@pytest.mark.parametrize("part", LEVEL)
def test_no_part_imports_one_above_or_beside_it(part):
    for path in PACKAGE.rglob("*.py"):
        if part_of(path) != part:
            continue
        wrong = {p for p in imported_parts(path) if p != part and LEVEL[p] >= LEVEL[part]}
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


def test_command_line_imports_nothing_slow_before_it_knows_what_to_do():
    for path in (PACKAGE / "cli").glob("*.py"):
        for node in ast.parse(path.read_text()).body:  # top level only
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            slow = {
                n for n in names if n.split(".")[0] in {"torch", "numpy", "scipy", "pytorch_lightning", "PIL"}
            }
            assert not slow, f"{path.name} imports {slow}"
