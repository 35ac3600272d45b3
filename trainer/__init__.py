"""Shards to gradients. Knows the forms of `schemas`, and neither Beam nor the pipeline."""
