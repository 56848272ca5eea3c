"""The conditional variational autoencoder: encoder and decoder both see the conditions.

Sohn et al. 2015, "Learning structured output representation using deep conditional generative
models"; the prior of z does not depend on the condition.
"""

from __future__ import annotations

from synthray.models.vae import VAE


class CVAE(VAE):
    conditional = True
