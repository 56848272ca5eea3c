"""SynthRay: train generative models and turn them into synthetic data at any scale, on Ray."""

from synthray.version import __version__

__all__ = ["__version__"]
