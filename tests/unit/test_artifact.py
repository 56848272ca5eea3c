"""The artifact: what it holds comes back, every byte is checked, and no code comes from it."""

from __future__ import annotations

import json
import pickle
import sys
import types
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import codec, save_artifact

from synthray import artifact as artifacts
from synthray import models, storage
from synthray.artifact import Artifact
from synthray.artifact_files import Manifest
from synthray.config import ModelConfig
from synthray.errors import ArtifactError, NotFoundError
from synthray.models.dcgan import DCGAN
from synthray.sampling.virtual import VirtualDataset
from synthray.serving.loading import load_model

FILES = ("artifact.json", "model.safetensors", "codec.json")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    save_artifact(str(tmp_path / "artifact"))
    return tmp_path / "artifact"


def refusal(place: Path, **options: Any) -> str:
    with pytest.raises(ArtifactError) as caught:
        Artifact.load(str(place), **options)
    assert caught.value.exit_code == 1 and caught.value.remedy
    return str(caught.value)


def rewrite(place: Path, **changes: Any) -> None:
    """Change artifact.json and let its digest be right: what somebody who means harm would do."""
    tree = json.loads((place / "artifact.json").read_text()) | changes
    manifest = Manifest.model_validate(tree | {"digest": ""})
    tree["digest"] = manifest.computed_digest()
    (place / "artifact.json").write_text(json.dumps(tree))


# There and back.


def test_what_is_saved_comes_back(place: Path) -> None:
    loaded = Artifact.load(str(place))
    assert sorted(path.name for path in place.iterdir()) == sorted(FILES)
    assert loaded.schema == codec().schema and loaded.codec.spec == codec().spec
    assert loaded.card == {"family": "dcgan", "source": "noise", "rows": 44}
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    tensors = dict(loaded.model.generator.state_dict())
    stored = artifacts.safetensors.torch.load((place / "model.safetensors").read_bytes())
    assert {f"generator.{name}" for name in tensors} == set(stored)
    assert all(torch.equal(tensors[name], stored[f"generator.{name}"]) for name in tensors)


def test_the_digest_depends_on_the_content_and_on_nothing_else(tmp_path: Path) -> None:
    digests = {save_artifact(str(tmp_path / name)) for name in ("a", "deep/er/b")}
    assert len(digests) == 1
    (digest,) = digests
    assert Artifact.load(str(tmp_path / "a")).digest == digest and len(digest) == 64
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "deep/er/b" / name).read_bytes()
    assert str(tmp_path) not in (tmp_path / "a" / "artifact.json").read_text()
    other = {"width": 4, "critic_width": 4, "latent_dim": 9}
    assert save_artifact(str(tmp_path / "c"), params=other) != digest
    assert save_artifact(str(tmp_path / "d"), codec({})) != digest


def test_an_artifact_keeps_what_was_the_default_when_it_was_trained(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Artifact.load(str(place))
    config = models.family("dcgan").Config
    latent = loaded.model.config.latent_dim
    assert loaded.manifest.model.params["latent_dim"] == latent
    monkeypatch.setattr(config.model_fields["latent_dim"], "default", latent + 1)
    config.model_rebuild(force=True)
    try:
        assert config().latent_dim == latent + 1
        again = Artifact.load(str(place))
    finally:
        monkeypatch.undo()
        config.model_rebuild(force=True)
    rows = [VirtualDataset(found, 0).rows(0, 5) for found in (loaded, again)]
    assert rows[0].equals(rows[1])


def test_artifact_json_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    write = storage.write_bytes
    monkeypatch.setattr(
        storage, "write_bytes", lambda uri, data: (order.append(Path(uri).name), write(uri, data))
    )
    save_artifact(str(tmp_path))
    assert sorted(order) == sorted(FILES) and order[-1] == "artifact.json"


# Damage.


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_byte_is_caught_wherever_it_is(place: Path, name: str) -> None:
    whole = (place / name).read_bytes()
    for where in range(0, len(whole), max(len(whole) // 40, 1)):
        data = bytearray(whole)
        data[where] ^= 0x01
        (place / name).write_bytes(data)
        try:
            same = json.loads(data) == json.loads(whole) if name == "artifact.json" else False
        except ValueError:
            same = False
        if not same:  # a space for another in JSON changes nothing
            assert name in refusal(place) or "format" in refusal(place)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}"])
def test_a_file_of_something_else_is_caught(place: Path, name: str, damage: bytes) -> None:
    (place / name).write_bytes(damage)
    assert f"{place}/{name}" in refusal(place)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_missing_part_is_named(place: Path, name: str) -> None:
    (place / name).unlink()
    assert f"{place} is incomplete: {name} is missing" in refusal(place)


def test_no_artifact_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no artifact at .*\n.*holds artifact\.json"):
        Artifact.load(str(tmp_path))


def test_a_newer_format_asks_for_an_upgrade(place: Path) -> None:
    tree = json.loads((place / "artifact.json").read_text()) | {"format": 2, "new": "thing"}
    (place / "artifact.json").write_text(json.dumps(tree))
    assert "has format 2; this version reads up to 1\n  → upgrade synthray" in refusal(place)


def test_other_random_streams_are_refused(place: Path) -> None:
    rewrite(place, stream="philox-2")
    assert "was made for the random streams 'philox-2'" in refusal(place)


def test_weights_of_another_size_are_refused(place: Path) -> None:
    params = {"width": 8, "critic_width": 4, "latent_dim": 8}
    rewrite(place, model={"name": "dcgan", "params": params})
    assert "model.safetensors does not fit the family's module 'generator'" in refusal(place)


def test_settings_that_the_family_does_not_take_are_the_artifacts_fault(place: Path) -> None:
    rewrite(place, model={"name": "dcgan", "params": {"depth": 3}})
    message = refusal(place)
    assert "its family 'dcgan' cannot be built" in message and "model.params.depth" in message


def test_a_codec_of_an_unknown_kind_is_refused(place: Path) -> None:
    data = json.dumps({"kind": "sound"}).encode()
    (place / "codec.json").write_bytes(data)
    files = json.loads((place / "artifact.json").read_text())["files"]
    rewrite(place, files=files | {"codec.json": artifacts.hashlib.sha256(data).hexdigest()})
    assert "codec.json has the unknown kind 'sound'" in refusal(place)


# No code from it.


def test_loading_and_sampling_use_no_pickle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any, **__: Any) -> Any:
        raise AssertionError("unpickled")

    for module, name in (
        (pickle, "loads"),
        (pickle, "load"),
        (pickle, "Unpickler"),
        (torch, "load"),
    ):
        monkeypatch.setattr(module, name, forbidden)
    assert VirtualDataset(Artifact.load(str(place))).rows(0, 3).num_rows == 3


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that could be imported, and that tells when it is."""
    (tmp_path / "stranger_flow.py").write_text(
        "from synthray.models.dcgan import DCGAN\nimport sys\nsys.stranger_ran = True\n"
        "class Flow(DCGAN):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "stranger_ran", False, raising=False)
    monkeypatch.delitem(sys.modules, "stranger_flow", raising=False)
    return "stranger_flow:Flow"


def test_a_module_that_only_the_artifact_names_is_not_imported(place: Path, stranger: str) -> None:
    params = {"width": 4, "critic_width": 4, "latent_dim": 8}
    rewrite(place, model={"name": stranger, "params": params})
    message = refusal(place)
    assert f"names the family '{stranger}', which is not installed as one" in message
    assert "synthray.models" in message and "trust=" in message
    assert "names the family" in refusal(place, trust=["another:Flow"])
    assert not sys.stranger_ran  # type: ignore[attr-defined]
    loaded = Artifact.load(str(place), trust=[stranger])
    assert load_model(str(place), trust=[stranger]).digest == loaded.digest
    assert sys.stranger_ran  # type: ignore[attr-defined]
    assert type(loaded.model).__name__ == "Flow"


@pytest.mark.parametrize("name", ["os:system", "nonsense", "synthray.models.dcgan:DCGAN", "a:b:c"])
def test_other_names_are_refused_before_anything_is_read(place: Path, name: str) -> None:
    rewrite(place, model={"name": name, "params": {}})
    (place / "model.safetensors").unlink()
    assert "which is not installed as one" in refusal(place)


def test_an_entry_point_of_an_installed_package_needs_no_more_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("installed_flow")
    module.Flow = type("Flow", (DCGAN,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "installed_flow", module)
    point = metadata.EntryPoint("flow", "installed_flow:Flow", "synthray.models")
    monkeypatch.setattr(models.metadata, "entry_points", lambda group: [point])
    save_artifact(str(tmp_path), family="flow")
    assert type(Artifact.load(str(tmp_path)).model).__name__ == "Flow"
    assert models.installed("flow") and not models.installed("installed_flow:Flow")


def test_a_config_in_the_artifact_cannot_hold_surprises(place: Path) -> None:
    tree = json.loads((place / "artifact.json").read_text()) | {"run": "os.system"}
    (place / "artifact.json").write_text(json.dumps(tree))
    assert "artifact.json is not an artifact" in refusal(place)
    assert Manifest.model_validate_json(
        Manifest(synthray="1", torch="2", model=ModelConfig()).model_dump_json()
    )
