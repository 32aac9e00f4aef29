"""Candidate generators without a trained tower: one module per block of `generators`.

A module `stages/generators/NAME.py` has

    Params                                a `Section` with the block's fields
    fit(positives, low_ratings, params)   -> arrays by name, saved as .npz
    recommend(arrays, users, seen, count) -> RECOMMENDATIONS, `count` unseen movies a user

where `positives` is KNOWN_POSITIVES, `low_ratings` is LOW_RATINGS, and `seen` is SEEN: the movies
that no list may hold, which of them are the users' positives, and the order of their ratings. An
item-to-item model has the arrays of `stages.models.item_item.model_arrays`, and imports `recommend`
from `stages.models.item_item`; then the rankers' features and the explanations use its weights too.
`stages.fit_generator` runs the module for every snapshot. Serving calls `recommend` with the arrays
of the bundle.
"""
