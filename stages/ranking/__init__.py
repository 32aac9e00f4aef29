"""The features of the rankers, for training and for scoring."""
