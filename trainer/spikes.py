"""Loss spikes: an update whose loss stands out from those before it, so that its samples can be looked at.

The rule, of each set by itself: a loss is a spike where it lies more than `_DEVIATIONS` deviations above the median of the set's last `_WINDOW` losses. The
deviation is 1.4826 times the median distance from that median (of a normal distribution its standard deviation), and at least a hundredth of the median.
Both are blind to the spikes themselves, and to how fast the loss falls. Spikes stay among the losses, so that a loss that stays high is one for half a
window and then the new level.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Final

import msgspec

_WINDOW: Final = 128  # ours
_LEAST: Final = 32  # ours: losses before the first verdict
_DEVIATIONS: Final = (
    8.0  # ours: of 30,000 losses with normal noise it names none, with log-normal noise of sigma 0.3 three
)
_NORMAL: Final = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


class Spike(msgspec.Struct, frozen=True, kw_only=True):
    """A loss, the median that it stands out from, and by how many deviations."""

    loss: float
    median: float
    deviations: float


class Spikes:
    """Takes the losses of updates in order."""

    def __init__(self) -> None:
        self._losses: dict[str, deque[float]] = {}

    def take(self, losses: Mapping[str, float]) -> dict[str, Spike]:
        """The spikes among an update's losses, by set."""
        found = {}
        for name, loss in losses.items():
            before = self._losses.setdefault(name, deque(maxlen=_WINDOW))
            if len(before) >= _LEAST and (spike := _spike(loss, before)).deviations > _DEVIATIONS:
                found[name] = spike
            before.append(loss)
        return found


def _spike(loss: float, before: deque[float]) -> Spike:
    middle = median(before)
    deviation = max(_NORMAL * median(abs(one - middle) for one in before), abs(middle) / 100, 1e-9)
    return Spike(loss=loss, median=middle, deviations=(loss - middle) / deviation)
