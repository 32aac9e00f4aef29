import numpy as np
import polars as pl

from stages.models.towers import movie_embeddings
from tests.retrieval.small_models import train_small


def test_genres_place_a_movie_without_a_positive(tables: dict) -> None:
    fit, _ = train_small("genre", tables, epochs=8, movie_dropout=0.5)
    ids, vectors = movie_embeddings(fit.arrays)
    assert 99 in ids
    assert 99 not in fit.arrays["movie_ids"]
    drama = tables["genres"].filter(pl.col("genre_Drama") == 1)["movie_id"].to_list()
    units = vectors[:, :-1] / np.linalg.norm(vectors[:, :-1], axis=1, keepdims=True)
    cosine = units @ units[ids == 99][0]
    is_drama = np.isin(ids, [m for m in drama if m != 99])
    has_other_genre = np.isin(ids, [m for m in ids if m not in drama and m != 99])
    assert cosine[is_drama].mean() > cosine[has_other_genre].mean() + 0.2


def test_item_l2_leaves_movies_to_their_genres(tables: dict) -> None:
    item_norms, genre_norms = [], []
    for item_l2 in (0.0, 50.0):
        fit, _ = train_small("genre", tables, epochs=30, item_l2=item_l2)
        item_norms.append(np.linalg.norm(fit.arrays["movie"]))
        genre_norms.append(np.linalg.norm(fit.arrays["movie_genres"] @ fit.arrays["genre"]))
    assert item_norms[1] < 0.5 * item_norms[0]
    assert genre_norms[1] / item_norms[1] > 2 * genre_norms[0] / item_norms[0]
