"""Makes schemas.json.xz from KubeRay's custom resource definitions.

    python k8s/crds/make.py FOLDER      # ray-operator/config/crd/bases of a KubeRay release

Only the schemas of version v1 are kept, without descriptions: 6 kB instead of 4 MB.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

import yaml

OUT = Path(__file__).with_name("schemas.json.xz")


def without_descriptions(node: Any) -> Any:
    """The same schema; a field that is called so has a schema as its value, and stays."""
    if isinstance(node, dict):
        kept = {k: v for k, v in node.items() if k != "description" or not isinstance(v, str)}
        return {key: without_descriptions(value) for key, value in kept.items()}
    return [without_descriptions(item) for item in node] if isinstance(node, list) else node


def schemas(folder: Path) -> dict[str, Any]:
    """The OpenAPI schema of each kind."""
    found = {}
    for path in sorted(folder.glob("ray.io_*.yaml")):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        version = next(each for each in spec["versions"] if each["name"] == "v1")
        found[spec["names"]["kind"]] = without_descriptions(version["schema"]["openAPIV3Schema"])
    return found


if __name__ == "__main__":
    made = json.dumps(schemas(Path(sys.argv[1])), separators=(",", ":"), sort_keys=True)
    OUT.write_bytes(lzma.compress(made.encode(), preset=9))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")
