"""The wiring: which stage function runs on what, as Beam transforms. The only Beam in the library; a file a stage.

Work on a unit (a slice, a part, a stretch of a file, a shard) happens in a child process of the worker (`pipeline.isolate`); the engine spreads
units and groups packed keys (`pipeline.stages.packed`). No transform writes through a sink of a runner: a unit's function commits its own part.
"""
