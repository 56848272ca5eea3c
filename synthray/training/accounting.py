"""The account of differential privacy: how much noise a budget asks for, and what was spent.

The mathematics is Opacus' (Yousefpour et al. 2021, 2109.12298): its accountant of privacy loss
random variables (Gopi et al. 2021, 2106.02848), for the Gaussian mechanism on Poisson samples.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from synthray.config import PrivacyConfig
from synthray.errors import ConfigError, MissingDependencyError

ACCOUNTANT = "prv"
NOT_COVERED = (
    "what the codec keeps of the columns: values, ranges, means, bins and modes",
    "the number of rows",
    "choices made by looking at the data or at scores, such as settings",
)


@dataclass(frozen=True)
class Account:
    """The terms of one training.

    Attributes:
        sample_rate: the probability of a row to be in a batch.
        steps: that the budget is meant for.
        releases: noised gradients of real rows a step, all of the same batch.
        noise_multiplier: the noise's deviation, in units of ``max_grad_norm``.
    """

    epsilon: float
    delta: float
    max_grad_norm: float
    sample_rate: float
    steps: int
    releases: int
    noise_multiplier: float

    @classmethod
    def of(
        cls, config: PrivacyConfig, *, rows: int, batch_size: int, steps: int, releases: int
    ) -> Account:
        """The least noise that keeps the budget.

        Raises:
            ConfigError: a delta that promises nothing, or a budget that no noise keeps.
            MissingDependencyError: Opacus is not installed.
        """
        delta, rate = config.delta_of(rows), batch_size / rows
        if delta * rows >= 1:
            raise ConfigError(
                f"train.privacy.delta: {delta:g} allows one of {rows:,} rows to be published whole",
                f"set it below 1 / rows; {1 / (10 * rows):.1g} is usual",
            )
        noise = _least_noise(config.epsilon, delta, rate, steps)
        # Gaussians on one batch compose to a Gaussian: k of deviation s tell what one of s / √k
        # tells.
        multiplier = noise * math.sqrt(releases)
        return cls(config.epsilon, delta, config.max_grad_norm, rate, steps, releases, multiplier)

    def spent(self, steps: int) -> float:
        """The epsilon of so many steps, at the account's delta; an upper bound."""
        if steps == 0:
            return 0.0
        noise = self.noise_multiplier / math.sqrt(self.releases)
        return _epsilon(noise, self.delta, self.sample_rate, steps, _error(self.epsilon))

    def statement(self, steps: int) -> dict[str, Any]:
        """What the artifact's card says."""
        return {
            "epsilon": self.spent(steps),
            "delta": self.delta,
            "budget": self.epsilon,
            "accountant": ACCOUNTANT,
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": self.max_grad_norm,
            "sample_rate": self.sample_rate,
            "steps": steps,
            "releases_per_step": self.releases,
            "protects": "one row, added or removed",
            "covers": "the weights, and so all that is generated from them",
            "not_covered": list(NOT_COVERED),
            "reproducible": False,
        }


def _error(epsilon: float) -> float:
    """The accountant's allowance for its grid, which counts as spent."""
    return min(0.01, epsilon / 50)


@lru_cache(maxsize=16)
def _least_noise(epsilon: float, delta: float, rate: float, steps: int) -> float:
    """Raises: ConfigError, MissingDependencyError."""
    search: Any = _opacus().utils.get_noise_multiplier
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its first, coarse guesses
            found: float = search(
                target_epsilon=epsilon,
                target_delta=delta,
                sample_rate=rate,
                steps=steps,
                accountant=ACCOUNTANT,
                epsilon_tolerance=epsilon / 100,
                eps_error=_error(epsilon),
            )
    except (ValueError, RuntimeError) as error:
        raise ConfigError(
            f"train.privacy.epsilon: no noise keeps {epsilon:g} at delta {delta:g} over {steps:,} "
            f"steps with {rate:.3g} of the rows each ({error})",
            "raise epsilon, or lower train.steps or train.batch_size",
        ) from error
    return found


@lru_cache(maxsize=64)
def _epsilon(noise: float, delta: float, rate: float, steps: int, error: float) -> float:
    accountant = _opacus().create_accountant(ACCOUNTANT)
    accountant.history = [(noise, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(accountant.get_epsilon(delta, eps_error=error))


def _opacus() -> Any:
    """Raises: MissingDependencyError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import opacus.accountants
            import opacus.accountants.utils
    except ImportError as error:
        raise MissingDependencyError(
            f"train.privacy needs {error.name}", "pip install 'synthray[privacy]'"
        ) from error
    return opacus.accountants
