import numpy as np
import pytest

from stages.retrieval.training import keep_best, updated_ema
from stages.retrieval.worker import State
from tests.retrieval.small_models import build_small, train_small


def test_early_stopping_keeps_the_best_epoch(tables: dict) -> None:
    fit, _ = train_small("id", tables, epochs=40, patience=2, learning_rate=0.05)
    scores = [row["ndcg@10"] for row in fit.curve]
    assert fit.epoch == int(np.argmax(scores)) + 1
    assert len(scores) == min(40, fit.epoch + 2)


def test_a_training_says_how_far_it_is(
    tables: dict, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("stages.cli.progress.LINE_SECONDS", 0.0)
    fit, _ = train_small("id", tables, epochs=3, finetune_epochs_ratio=0.0)
    lines = capsys.readouterr().err.splitlines()
    row = fit.curve[1]
    start = (
        f"inner_val epochs: 2 of at most 3, loss {row['loss']:.4f}, ndcg@10 {row['ndcg@10']:.4f}"
    )
    assert lines[1].startswith(start)
    assert "; at most " in lines[1]
    assert lines[3].startswith(f"val epochs: 1 of {fit.epoch}, loss ")
    assert "at most" not in lines[3]


def test_the_moving_average_has_no_bias_towards_zero() -> None:
    ema: dict[str, np.ndarray] = {}
    for epoch, value in enumerate([7.0, 14.0, 28.0], start=1):
        ema = updated_ema(ema, {"w": np.array(value)}, decay=0.5, epoch=epoch)
    assert ema["w"] == pytest.approx((1 * 7 + 2 * 14 + 4 * 28) / 7)
    last = updated_ema({"w": np.array(5.0)}, {"w": np.array(3.0)}, decay=0.0, epoch=2)
    assert last["w"] == 3


def test_only_a_better_epoch_replaces_the_best() -> None:
    state = State()
    for epoch, score in enumerate([0.1, 0.3, 0.3, 0.2], start=1):
        state.epoch = epoch
        keep_best(state, {"epoch": np.array(epoch)}, {"ndcg@10": score})
    assert (state.best.epoch, int(state.best.arrays["epoch"])) == (2, 2)
    assert [row["ndcg@10"] for row in state.best.curve] == [0.1, 0.3, 0.3, 0.2]


def test_a_model_starts_from_the_rows_of_the_users_and_movies_that_it_shares(tables: dict) -> None:
    data, model, _ = build_small("genre", tables, dimension=4)
    initial = model.arrays()
    index = np.array([1, 4])
    arrays = {
        "user_ids": data.user_ids[:0],
        "user": np.empty((0, 4), np.float32),
        "movie_ids": data.movie_ids[index],
        "movie": np.full((2, 4), 9, np.float32),
        "bias": np.full(2, 8, np.float32),
        "genre": np.full_like(initial["genre"], 7),
        "catalogue_ids": data.catalogue_ids,
    }
    model.start_from(arrays)
    weights = model.arrays()
    assert (weights["movie"][index] == 9).all()
    assert (weights["bias"][index] == 8).all()
    assert (weights["genre"] == 7).all()
    assert np.array_equal(weights["user"], initial["user"])
    other_rows = np.delete(np.arange(len(data.movie_ids)), index)
    assert np.array_equal(weights["movie"][other_rows], initial["movie"][other_rows])
