"""The four stages: what one worker does to one unit of work. No Beam here; `pipeline.transforms` spreads the units."""
