"""The frozen vision encoder: any vision model of transformers, from pixels to the grid of features before any pooling. Flamingo 2.1.

Models of timm, such as the paper's NFNet-F6, come by transformers' wrapper of them (model_type "timm_wrapper").

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
        ConfigError: the model is no vision model, or the text half of one only, or wants its pixels cut up.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        tower = getattr(model, "vision_model", model)  # CLIP and SigLIP keep it beside their text tower
        taken = inspect.signature(tower.forward).parameters
        wanted = {name for name, one in taken.items() if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
        if "pixel_values" not in taken or wanted - {"pixel_values"}:
            raise ConfigError(f"{type(model).__name__} does not take pixel_values alone; name another vision model")
        self.tower = tower
        self.width = _width(tower)
        self._interpolates = "interpolate_pos_encoding" in taken

    def forward(self, pixels_MT3HW: Tensor) -> Tensor:
        """The features of each frame."""
        media, frames = pixels_MT3HW.shape[:2]
        extra = {"interpolate_pos_encoding": True} if self._interpolates else {}
        out = self.tower(pixel_values=pixels_MT3HW.flatten(0, 1).to(self.dtype), **extra).last_hidden_state
        if out.ndim == 4:  # convolutions end in [M * T, C, height, width]
            out = out.flatten(2).transpose(1, 2)
        features_MTSC: Tensor = out.unflatten(0, (media, frames))
        return features_MTSC

    @property
    def dtype(self) -> torch.dtype:
        """That of its weights."""
        return next(self.tower.parameters()).dtype


def _width(tower: PreTrainedModel) -> int:
    """Channels of the features: families say it at different places."""
    config = getattr(tower.config, "vision_config", tower.config)
    of_timm = getattr(tower, "timm_model", None)
    if of_timm is not None:
        return int(of_timm.num_features)
    return int(config.hidden_size if hasattr(config, "hidden_size") else config.hidden_sizes[-1])
