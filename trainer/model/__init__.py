"""The model: vision, resampler, gated layers, language model."""
