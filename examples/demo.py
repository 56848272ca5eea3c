"""The main job on real digits, as `make demo` runs it; then a look at what it made."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from synthray import storage

HERE = Path(__file__).parent
DATA = Path("out/data/mnist-5k")
OUT = Path("out/demo")


def main() -> int:
    began = time.monotonic()
    subprocess.run([sys.executable, HERE / "datasets.py", "mnist-5k", DATA], check=True)
    command = [sys.executable, "-m", "synthray", "run", str(HERE / "demo.yaml")]
    code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 3):
        return code
    print(f"\nMade under {OUT}/ in {time.monotonic() - began:.0f} s:\n")
    for name, what in (
        ("artifact/", "the trained generator"),
        ("samples/", "pictures while it trained"),
        ("synthetic/data/", "20,000 images as Parquet"),
        ("synthetic/README.md", "the dataset card"),
        ("report.html", "scores and pictures: open it in a browser"),
        ("report.json", "the same for machines"),
        ("served.arrow", "a batch fetched over HTTP"),
    ):
        print(f"  {_size(OUT / name):>9}  {name:22} {what}")
    print()
    _scores()
    return code


def _size(path: Path) -> str:
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return f"{sum(file.stat().st_size for file in files) / 1e6:.2f} MB"


def _scores() -> None:
    report = storage.read_json(str(OUT / "report.json"))
    print(f"  {'score':24}{'synthetic':>12}{'fresh real':>12}")
    for name, score in report["scores"].items():
        print(f"  {name:24}{score['value']:12.4g}{score['floor']:12.4g}")
    utility = report["utility"]
    tstr, trtr = utility["tstr"]["accuracy"], utility["trtr"]["accuracy"]
    print(f"  {'accuracy, trained on it':24}{tstr:12.1%}{trtr:12.1%}")


if __name__ == "__main__":
    sys.exit(main())
