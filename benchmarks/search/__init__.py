"""Search for params with Optuna, each trial an experiment of DVC."""
