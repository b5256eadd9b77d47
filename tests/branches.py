#!/usr/bin/env python3
"""branches.py - which branches the tests took, from a build with --enable-coverage.

usage: tests/branches.py BUILD            a line for each layer, then the files
                                          with most branches never taken
       tests/branches.py BUILD SOURCE...  each line of these files (or of all
                                          below a directory, or a layer) with a
                                          branch never taken: how many, and which

A branch is one way a condition can go, as gcov counts: `if (a && b)` has four.
An outcome of a line is shown by its place in gcov's order: + taken, - never.
"""

import collections
import json
import os
import signal
import subprocess
import sys

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), ".."))
WORST = 15


def accounts(build):
    """gcov's account of each object of ours."""
    notes = []
    for where, _, names in os.walk(os.path.join(build, "src")):
        notes += [os.path.join(where, n) for n in names if n.endswith(".gcno")]
    if not notes:
        sys.exit(f"branches.py: {build} was not built with --enable-coverage")
    # what it says of objects that never ran, or whose source has gone, is no error
    said = subprocess.run(["gcov", "-b", "-t", "--json-format"] + sorted(notes),
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          cwd=build, check=False)
    return [json.loads(line) for line in said.stdout.splitlines() if line]


def branches(build):
    """{file: {line: [taken or not, ...]}}; a file in two objects counts once."""
    found = collections.defaultdict(dict)
    for account in accounts(build):
        for file in account["files"]:
            path = os.path.relpath(
                os.path.join(account["current_working_directory"], file["file"]), TOP)
            if not path.startswith("src/") or not path.endswith(".c"):
                continue
            if not os.path.exists(os.path.join(TOP, path)):
                continue
            for line in file["lines"]:
                now = [b["count"] > 0 for b in line["branches"]]
                number = line["line_number"]
                before = found[path].get(number, [False] * len(now))
                found[path][number] = [a or b for a, b in zip(before, now)]
    return found


def never(lines):
    return sum(taken.count(False) for taken in lines.values())


def count(lines):
    return sum(len(taken) for taken in lines.values())


def row(name, lines):
    left, of = never(lines), count(lines)
    return f"{name:<26} {100 * (of - left) / max(of, 1):5.1f} % of {of}, {left} never"


def table(found):
    layers = collections.defaultdict(dict)
    for path, lines in found.items():
        for number, taken in lines.items():
            layers[path.split("/")[1]][path, number] = taken
            layers["~ all"][path, number] = taken
    for layer in sorted(layers):
        print(row(layer.lstrip("~ "), layers[layer]))
    print(f"\nthe {WORST} files with most branches never taken")
    worst = sorted(found, key=lambda path: -never(found[path]))
    for path in worst[:WORST]:
        print(row(path, found[path]))


def listing(path, lines):
    print(row(path, lines))
    with open(os.path.join(TOP, path)) as f:
        text = dict(enumerate(f.read().splitlines(), 1))
    for number in sorted(lines):
        if not all(lines[number]):
            marks = "".join("+" if taken else "-" for taken in lines[number])
            print(f"{number:5} {marks:>8} {text.get(number, '?').strip()}")
    print()


def main(build, *sources):
    found = branches(build)
    if not found:
        sys.exit(f"branches.py: {build} is of another tree than {TOP}")
    if not sources:
        table(found)
        return
    for source in sources:
        below = os.path.relpath(os.path.join(TOP, source), TOP)
        for path in sorted(found):
            if path == below or path.startswith(below + "/"):
                listing(path, found[path])


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__.strip())
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # for `... | head`
    main(*sys.argv[1:])
