"""Endpoints' manifests against Ray Serve's own schema, which drops unknown keys in silence."""

from __future__ import annotations

import copy

import pytest
from manifests import beside, rendered

from k8s.checks.available import notes
from k8s.checks.serving import check_serving


def problems_of(old: str, new: str, folder: str = "cpu/endpoint") -> list[str]:
    trees = copy.deepcopy(list(rendered(folder)))
    (spec,) = [tree["spec"] for tree in trees if tree["kind"] == "RayService"]
    assert old in spec["serveConfigV2"]
    spec["serveConfigV2"] = spec["serveConfigV2"].replace(old, new)
    return check_serving(trees, beside(folder))


def test_nothing_goes_unchecked_and_the_endpoints_are_right() -> None:
    assert notes() == []
    for overlay in ("cpu", "gpu", "production"):
        assert problems_of("", "", f"{overlay}/endpoint") == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("proxy_location:", "proxy_locaton:", "proxy_locaton: unknown key; did you mean"),
        ("request_timeout_s:", "request_timeout:", "http_options.request_timeout: unknown key"),
        ("import_path:", "import_pth:", "applications[0].import_pth: unknown key"),
        ("port: 8000", "port: web", "http_options.port"),
        ("max_replicas:", "max_replica:", "autoscaling_config.max_replica: unknown key"),
        ("max_replicas: 4", "max_replicas: 0", "autoscaling_config.max_replicas"),
        ("target_ongoing_requests: 4", "target_ongoing_requests: many", "(got 'many')"),
        ("- name: synthray\n    auto", "- name: synthrya\n    auto", "did you mean 'synthray'?"),
        ("    models: ", "    modles: ", "args.modles: unknown key; did you mean 'models'?"),
        ("      model: s3", "      a/b: s3", "args.models"),
        ("serve: {}", "serve: {max_row: 5}", "args.serve.max_row: unknown key; did you mean"),
        ("serve: {}", "serve: {cpus_per_replica: 8}", "8 are more than the 4 CPUs of the largest"),
    ],
)
def test_an_error_in_serve_yaml_is_noticed(old: str, new: str, told: str) -> None:
    problems = problems_of(old, new)
    assert any(told in problem for problem in problems), problems
    assert all(problem.startswith("RayService/endpoint: spec.serve") for problem in problems)
