"""The HTTP API: a plain FastAPI application over virtual datasets, with no Ray in it."""

from synthray.serving.app import create_app
from synthray.serving.models import ServedModel

__all__ = ["ServedModel", "create_app"]
