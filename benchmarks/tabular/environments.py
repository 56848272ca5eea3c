"""Virtual environments of the rivals and of the scoring, one each, under out/rivals.

A rival's licence or pins never touch ours: each is installed by itself, on the first use, at the
versions of requirements/NAME.txt (Python 3.11, Linux), which name every package. A finished
environment holds a copy of its requirements; when they change it is built anew. Further options
for pip (an index of CPU builds of torch, say) go into the environment variable PIP_FLAGS, as for
make.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / "out" / "rivals"
REQUIREMENTS = Path(__file__).parent / "requirements"


def interpreter(name: str) -> Path:
    """The Python of the environment ``name``, built if it is not there or is out of date.

    Raises:
        subprocess.CalledProcessError: pip could not; its own words are on stderr.
    """
    wanted = REQUIREMENTS / f"{name}.txt"
    place = CACHE / name
    python, ready = place / "bin" / "python", place / "requirements.txt"
    if ready.exists() and ready.read_text() == wanted.read_text():
        return python
    print(f"setting up {place.relative_to(ROOT)} …", file=sys.stderr)
    shutil.rmtree(place, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += [*shlex.split(os.environ.get("PIP_FLAGS", "")), "--no-deps", "-r", str(wanted)]
    subprocess.run(pip, check=True, stdout=sys.stderr)
    shutil.copy(wanted, ready)
    return python
