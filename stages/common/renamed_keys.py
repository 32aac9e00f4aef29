"""Keys of params.yaml in earlier versions, for the error that names their replacement.

A `*` stands for any one key. It is used where no new block could want the old name.
"""

NO_THREADS = "nothing: LightGBM uses all processors, or as many as OMP_NUM_THREADS says"
RENAMED = {
    "engine": "backend",
    "item_knn": "generators.item_knn",
    "ease": "generators.ease",
    "generators.ease.regularisation": "generators.ease.regularization",
    "time_split.early": "time_split.inner_val_targets",
    "histories.learnt_users": "histories.max_validation_users",
    "faiss.hnsw_links": "faiss.M",
    "faiss.ivf_lists": "faiss.nlist",
    "faiss.probes": "faiss.nprobe for ivf, faiss.efSearch for hnsw",
    "retrievers.*.average": "ema_decay",
    "retrievers.*.warm_start": "finetune_epochs_ratio",
    "retrievers.*.movies_at_once": "num_sampled",
    "retrievers.genre.own_l2": "item_l2",
    "retrievers.history.blocks": "num_blocks",
    "retrievers.history.heads": "num_heads",
    "retrievers.history.hidden": "item_mask_prob",
    "retrievers.history.gates": "gated_residuals",
    "retrievers.history.time_gaps": "use_time_gaps",
    "retrievers.history.genres": "use_genres",
    "retrievers.history.negatives": "num_sampled",
    "retrievers.hard_negative.negatives": "num_negative_candidates",
    "retrievers.hard_negative.hard_negatives": "num_hard_negatives",
    "lightgbm.max_trees": "num_boost_round",
    "lightgbm.patience": "early_stopping_rounds",
    "lightgbm.folds": "nfold",
    "lightgbm.bags": "ensemble_size",
    "lightgbm.threads": NO_THREADS,
    "lightgbm.num_threads": NO_THREADS,
    "rankers.*.vectors": "retriever",
    "rankers.*.cutoff": "eval_at",
    "rankers.*.misses": "drop_users_without_hit: true or false",
    "rankers.*.negatives": "negatives_per_user",
    "rankers.*.features": "feature_groups",
    "fusion.generators": "fusion.exclude, which lists the generators that are not merged",
    "leaderboard.systems": "leaderboard.exclude, which lists the systems that are not shown",
    "leaderboard.retrievers": "nothing: the keys of `retrievers` say the same",
}
