"""The size of everything that has to be believed: what the checker imports, room by room.

Kernel: boxes, affine maps, convolutions, ReLU, maxima, split trees, the passes, their arithmetic.
Every further family of operators is a file of its own. ``make trusted`` prints it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grimp
from _results import table

ROOT = Path(__file__).parent.parent
KERNEL = {
    "affine",
    "arithmetic",
    "convolution",
    "max_pool",
    "relu",
    "rules",
    "split_tree",
    "trusted",
}
FILES = {"", "__main__", "command", "folder"}
REGIONS = {"enumeration", "intensity", "reach"}


def lines(module: str) -> int:
    """Lines of a module that are not blank, comments and docstrings included."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return sum(bool(line.strip()) for line in file.read_text("utf-8").splitlines())


def part(module: str) -> str:
    """Which part of the trusted base a module belongs to."""
    _, room, *rest = [*module.split("."), ""]
    if room == "checker":
        if rest[0] in FILES:
            return "checker, files and command"
        if rest[0] in KERNEL:
            return "checker, kernel"
        return f"checker, {'regions' if rest[0] in REGIONS else 'operators'}: {rest[0]}"
    return room


def main() -> None:
    """Count and print."""
    graph = grimp.build_graph("asi_verify")
    start = {"asi_verify.checker", *graph.find_descendants("asi_verify.checker")}
    needed = start.union(*(graph.find_upstream_modules(module) for module in start))
    sizes: Counter[str] = Counter()
    for module in sorted(needed - {"asi_verify"}):
        sizes[part(module)] += lines(module)
    rows: list[list[object]] = [[name, size] for name, size in sorted(sizes.items())]
    print(table(["part", "lines"], [*rows, ["together", sizes.total()]]))


if __name__ == "__main__":
    main()
