"""The configs within manifests, of jobs and of endpoints, are read as those who run them would."""

from __future__ import annotations

import copy

import pytest
from manifests import problems_of, rendered, spoiled

from k8s.checks.rendering import name_of


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("steps:", "stpes:", "train.stpes: unknown key; did you mean 'steps'?"),
        ("steps: 20000", 'steps: "many"', "must be an integer"),
        ("seed: 0", "seed: [0", "not valid YAML"),
        ("seed: 0", "seed: 0\nseed: 1", "the key 'seed' is given twice"),
        ("cpus_per_worker: 4", "cpus_per_worker: 5", "5 are more than the 4 CPUs of the largest"),
        ("cpus_per_worker: 4", "gpus_per_worker: 1", "gpus_per_worker: 1, and no worker pod"),
        ("workers: 1 ", "workers: 5 ", "workers: 5 are needed at once"),
        ("workers: 1 ", "address: auto #", "a job has a cluster of its own"),
        ("rows: 1000000", "rows: ${ROWS}", None),
        ("s3://synthray/digits", "${OUTPUT}", None),
        ("s3://synthray/raw", "s3://$(BUCKET)/raw", None),
    ],
)
def test_the_config_of_a_job_is_read_as_the_job_would(old: str, new: str, told: str | None) -> None:
    trees = copy.deepcopy(list(rendered("cpu/jobs")))
    (config,) = [tree for tree in trees if name_of(tree).startswith("ConfigMap/train-")]
    assert old in config["data"]["config.yaml"]
    config["data"]["config.yaml"] = config["data"]["config.yaml"].replace(old, new)
    problems = problems_of(trees, "cpu/jobs")
    if told is None:
        assert problems == []
    else:
        assert any("RayJob/train" in each and told in each for each in problems), problems


def test_a_config_may_be_in_a_variable() -> None:
    trees = copy.deepcopy(list(rendered("cpu/jobs")))
    train = next(tree for tree in trees if name_of(tree) == "RayJob/train")
    train["spec"]["entrypoint"] = "synthray train env:CONFIG"
    assert any("no variable CONFIG" in told for told in problems_of(trees, "cpu/jobs"))
    head = train["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    for source, told in (
        ({"value": "seed: 1"}, "data: missing"),
        ({"valueFrom": {"secretKeyRef": {"name": "synthray-s3", "key": "AWS_ACCESS_KEY_ID"}}}, ""),
    ):
        head["env"] = [each for each in head["env"] if each["name"] != "CONFIG"]
        head["env"].append({"name": "CONFIG", **source})
        problems = problems_of(trees, "cpu/jobs")
        assert any(told in each for each in problems) if told else not problems, problems


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("applications:", "applications: [", "not valid YAML"),
        ("applications:", "apps:", "holds no applications"),
        ("endpoint:application", "endpint:application", "no module 'synthray.distributed.endpint'"),
        ("endpoint:application", "endpoint:app", "has no 'app'; known: EndpointArgs, application"),
        ("synthray.distributed", "synthrya.distributed", "no module 'synthrya."),
        ("host: 0.0.0.0", "host: 127.0.0.1", "set it to 0.0.0.0"),
        ("port: 8000", "port: 8001", "the port `serve` of"),
        ("port: 8000", "port: 8001", "8001 is opened by no NetworkPolicy"),
    ],
)
def test_the_config_of_an_endpoint_is_read(old: str, new: str, told: str) -> None:
    text = next(t for t in rendered("cpu/endpoint") if t["kind"] == "RayService")["spec"]
    assert old in text["serveConfigV2"]
    value = text["serveConfigV2"].replace(old, new)
    problems = spoiled("cpu/endpoint", "RayService/endpoint", "spec.serveConfigV2", value)
    assert any(told in problem for problem in problems), problems
