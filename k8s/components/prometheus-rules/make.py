"""Makes prometheus-rule.yaml from cluster/monitoring/alerts.yaml; a test says where they part.

python k8s/components/prometheus-rules/make.py
"""

from __future__ import annotations

from pathlib import Path

import yaml

ALERTS = Path(__file__).parents[3] / "cluster" / "monitoring" / "alerts.yaml"
OUT = Path(__file__).with_name("prometheus-rule.yaml")
_HEAD = """\
# Made by make.py from cluster/monitoring/alerts.yaml: change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: synthray
  labels: {app.kubernetes.io/component: monitoring, release: prometheus}
spec:
"""


def made() -> str:
    """The file's text."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))
    text = yaml.safe_dump(groups, sort_keys=False, allow_unicode=True, width=100)
    return _HEAD + "".join(f"  {line}\n" for line in text.splitlines())


if __name__ == "__main__":
    OUT.write_text(made(), encoding="utf-8")
    print(OUT)
