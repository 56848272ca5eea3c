"""From an artifact's URI to a model that can be served."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from synthray import storage
from synthray.artifact import Artifact
from synthray.errors import NotFoundError, StorageError
from synthray.sampling.virtual import VirtualDataset
from synthray.sampling.wishes import settled, ways
from synthray.serving.models import Balance, Images, ServedModel, Where

logger = logging.getLogger(__name__)


def load_model(uri: str, trust: Collection[str] = ()) -> ServedModel:
    """Read and verify an artifact, and the scores of the run that it came from.

    Args:
        uri: an artifact's folder, local or s3://; ``../report.json`` beside it holds the scores.

        trust: families that the artifact may name; see `Artifact.load`.

    Raises:
        ArtifactError: the artifact is corrupt or too new.
        NotFoundError: there is none.
    """
    artifact = Artifact.load(uri, trust)

    def open_rows(seed: int, where: Where, balance: Balance, images: Images) -> VirtualDataset:
        return VirtualDataset(artifact, seed, where, images, balance=balance)

    return ServedModel(
        digest=artifact.digest,
        schema=artifact.schema,
        open=open_rows,
        settle=partial(settled, artifact.codec),
        ways=ways(artifact.codec, artifact.model.holds),
        card=artifact.card,
        scores=_scores(uri),
    )


def _scores(uri: str) -> Mapping[str, Any] | None:
    parent, slash, _ = uri.rstrip("/").rpartition("/")
    place = storage.join(parent if slash else ".", "report.json")
    try:
        report = storage.read_json(place)
    except NotFoundError:
        return None
    except StorageError as error:
        # A key that may read the artifact alone is no reason not to serve it.
        logger.warning("serving without scores: %s", error)
        return None
    scores = report.get("scores", report) if isinstance(report, dict) else None
    return scores if isinstance(scores, dict) else None
