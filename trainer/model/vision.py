"""The frozen vision encoder: any vision model of transformers, from pixels to the grid of features before any pooling. Flamingo 3.1.1.

Shapes: M media of one size, T frames, S tokens of a frame (patches, and the class token where the encoder has one), C its width.
"""

import inspect

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from schemas.errors import ConfigError


class VisionEncoder(nn.Module):
    """[M, T, 3, height, width] of normalised pixels to [M, T, S, C].

    Pictures of another size than the encoder was trained with have its position embeddings interpolated.

    Raises:
        ConfigError: the model is no vision model, or the text half of one only.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        tower = getattr(model, "vision_model", model)  # CLIP and SigLIP keep it beside their text tower
        if "pixel_values" not in inspect.signature(tower.forward).parameters:
            raise ConfigError(f"{type(model).__name__} takes no pixel_values; name a vision model of transformers")
        self.tower = tower
        config = getattr(model.config, "vision_config", model.config)
        self.width: int = config.hidden_size
        self._interpolates = "interpolate_pos_encoding" in inspect.signature(tower.forward).parameters

    def forward(self, pixels_MT3HW: Tensor) -> Tensor:
        """The features of each frame."""
        media, frames = pixels_MT3HW.shape[:2]
        extra = {"interpolate_pos_encoding": True} if self._interpolates else {}
        out = self.tower(pixel_values=pixels_MT3HW.flatten(0, 1).to(self.dtype), **extra)
        features_MTSC: Tensor = out.last_hidden_state.unflatten(0, (media, frames))
        return features_MTSC

    @property
    def dtype(self) -> torch.dtype:
        """That of its weights."""
        return next(self.tower.parameters()).dtype
