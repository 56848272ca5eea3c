"""SynthRay: train generative models and turn them into synthetic data at any scale, on Ray.

artifact = synthray.fit("digits/", model="dcgan", train={"steps": 2000})
table = artifact.sample(1000, seed=7, where={"label": "3"})
report = synthray.evaluate("digits/", table)
"""

from typing import TYPE_CHECKING, Any

from synthray.version import __version__

if TYPE_CHECKING:
    from synthray.api import Artifact, evaluate, load
    from synthray.fitting import fit

__all__ = ["Artifact", "__version__", "evaluate", "fit", "load"]


def __getattr__(name: str) -> Any:
    # On use: `import synthray` stays light, and the lower layers can import the package.
    if name in __all__:
        from synthray import api, fitting

        return getattr(fitting if name == "fit" else api, name)
    raise AttributeError(f"module 'synthray' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
