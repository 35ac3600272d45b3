"""An update of a training run in words for people, and in named numbers for boards."""

from collections.abc import Mapping

from trainer.step import Step


def line(step: Step, updates: int, since: Mapping[str, float], left_s: float) -> str:
    """One update for people, with the speed since the last line and the time left."""
    seconds = max(since["seconds"], 1e-9)
    gates = [abs(gate) for gate in step.gates]
    parts = [
        f"{step.number + 1:,} of {updates:,}",
        f"{_time(left_s)} left",
        *(f"{name} {loss:.3f}" for name, loss in step.losses.items()),
        f"|g| {step.norm:.2f}",
        f"lr {step.lr:.1e}",
        *([f"gates {min(gates):.3f}-{max(gates):.3f}"] if gates else []),
        *([f"scale {step.scale:.1f}"] if step.scale is not None else []),
        *(f"{since[what] / seconds:,.0f} {what}/s" for what in ("examples", "images", "tokens") if since[what]),
        f"waits {since['waited'] / seconds:.0%}",
        f"{step.memory_gb:.1f} GB",
    ]
    if step.mfu is not None:
        parts.append(f"MFU {step.mfu:.0%}")
    if since["faults"]:
        parts.append(f"{since['faults']:.0f} broken samples")
    return "  ".join(parts)


def scalars(step: Step) -> dict[str, float]:
    """An update as named numbers."""
    named = {f"loss/{name}": loss for name, loss in step.losses.items()}
    named |= {f"gate/{number}": gate for number, gate in enumerate(step.gates)}
    named |= {
        f"{what}_per_s": getattr(step, what) / max(step.seconds, 1e-9) for what in ("examples", "images", "tokens")
    }
    return named | {
        "gradient_norm": step.norm,
        "lr": step.lr,
        "data_wait": step.waited / max(step.seconds, 1e-9),
        "memory_gb": step.memory_gb,
        "broken_samples": len(step.faults),
        **{name: value for name in ("scale", "mfu") if (value := getattr(step, name)) is not None},
    }


def _time(seconds: float) -> str:
    """Whole hours, minutes and seconds, the two largest that there are."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
