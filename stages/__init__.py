"""A movie recommender as DVC stages: one module per stage, named like the stage."""
