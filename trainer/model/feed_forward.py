"""The dense half of the resampler's and of the gated layers: norm, up by four, squared ReLU, down. Flamingo Table 4."""

from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4  # Flamingo Table 4


class SquaredReLU(nn.Module):
    """`max(x, 0) ** 2` (So et al. 2021, Primer)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        return F.relu(x).square()


class FeedForward(nn.Sequential):
    """[..., width] to [..., width]; no biases in the linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.LayerNorm(width),
            nn.Linear(width, EXPANSION * width, bias=False),
            SquaredReLU(),
            nn.Linear(EXPANSION * width, width, bias=False),
        )
