# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot imports: modules reached from what it runs, seconds and megabytes without torch.

    python -m benchmarks.imports [CHECKOUT ...]

A module is reached if anything that is reached imports it, also inside a function. Checkouts are
measured side by side; this one where none is named.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from statistics import median

HERE = Path(__file__).parents[1]
PACKAGE = 'molmo_ros'
# What a robot starts or imports, in whichever checkout has it.
ENTRIES = ('ros.point_query_node', 'ros.client', 'commands.ask', 'commands.check', 'commands.fetch')
NODE = f'{PACKAGE}.ros.point_query_node'
MEASURE = f"""
import json, resource, sys, time
begun = time.perf_counter()
import {NODE}
print(json.dumps([time.perf_counter() - begun,
                  resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  sum(name.startswith('{PACKAGE}.') for name in sys.modules),
                  'torch' in sys.modules]))
"""
REPEATS = 5


def main() -> None:
    """Print one row for each checkout."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('checkouts', type=Path, nargs='*', default=[HERE])
    checkouts = [checkout.resolve() for checkout in parser.parse_args().checkouts]
    rows = [_row(checkout) for checkout in checkouts]
    print('| checkout | modules | reached | share | lines reached | import s | MB | torch |')
    print('|---|---|---|---|---|---|---|---|')
    for row in rows:
        print('|', ' | '.join(row), '|')
    for checkout in checkouts:
        print(f'\n{checkout.name}: reached of all, by room:', ', '.join(_by_room(checkout)))


def _by_room(checkout: Path) -> list[str]:
    modules = modules_of(checkout)
    reached = _closure(modules, [f'{PACKAGE}.{entry}' for entry in ENTRIES])
    rooms = Counter(room_of(name) for name in modules)
    found = Counter(room_of(name) for name in reached)
    return [f'{room} {found[room]}/{rooms[room]}' for room in sorted(rooms)]


def room_of(module: str) -> str:
    return module.split('.')[1] if '.' in module else '(package)'


def _row(checkout: Path) -> tuple[str, ...]:
    modules = modules_of(checkout)
    reached = _closure(modules, [f'{PACKAGE}.{entry}' for entry in ENTRIES])
    lines = sum(len(modules[name].read_text().splitlines()) for name in reached)
    runs = [_measured(checkout) for _ in range(REPEATS)]
    return (
        checkout.name,
        str(len(modules)),
        str(len(reached)),
        f'{len(reached) / len(modules):.0%}',
        str(lines),
        f'{median(run[0] for run in runs):.2f}',
        f'{median(run[1] for run in runs):.0f}',
        'yes' if any(run[3] for run in runs) else 'no',
    )


def modules_of(checkout: Path) -> dict[str, Path]:
    """The package's modules by dotted name, packages by their __init__."""
    found = {}
    for path in (checkout / PACKAGE).rglob('*.py'):
        parts = path.relative_to(checkout).with_suffix('').parts
        found['.'.join(parts[:-1] if parts[-1] == '__init__' else parts)] = path
    return found


def _closure(modules: dict[str, Path], entries: list[str]) -> set[str]:
    reached: set[str] = set()
    waiting = [entry for entry in entries if entry in modules]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [known for known in imports_of(name, modules) if known not in reached]
    return reached


def imports_of(name: str, modules: dict[str, Path]) -> set[str]:
    """Modules of the package that one imports, with the packages they are in."""
    path = modules[name]
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split('.')[: len(package.split('.')) - node.level + 1]
            module = '.'.join([*(base if node.level else []), *filter(None, [node.module])])
            names |= {module} | {f'{module}.{alias.name}' for alias in node.names}
    parents = {
        '.'.join(n.split('.')[:depth]) for n in names for depth in range(1, n.count('.') + 1)
    }
    return (names | parents) & modules.keys()


def _measured(checkout: Path) -> list[float]:
    environment = os.environ | {'PYTHONPATH': str(checkout), 'OMP_NUM_THREADS': '1'}
    command = [sys.executable, '-c', MEASURE]
    result = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=True
    )
    return list(json.loads(result.stdout))


if __name__ == '__main__':
    main()
