import faiss
import numpy as np
import pytest

from stages.faiss_index import Params, build_index

RNG = np.random.default_rng(4)
IDS = np.sort(RNG.choice(1000, 200, replace=False))
VECTORS = RNG.normal(size=(200, 8)).astype(np.float32)


def params(**changes: object) -> Params:
    values = {"kind": "flat", "metric": "inner_product"}
    return Params(**{**values, "M": 16, "efSearch": 300, "nlist": 4, "nprobe": 9, **changes})


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
@pytest.mark.parametrize("metric", ["inner_product", "l2"])
def test_an_index_returns_the_ids_of_the_nearest_movies(kind: str, metric: str) -> None:
    index = build_index(IDS, VECTORS, params(kind=kind, metric=metric))
    queries = np.random.default_rng(5).normal(size=(20, 8)).astype(np.float32)
    scores = queries @ VECTORS.T
    if metric == "l2":
        scores = -((queries[:, None] - VECTORS[None]) ** 2).sum(axis=2)
    expected = IDS[np.argsort(-scores, axis=1)[:, :5]]
    assert index.search(queries, 5)[1].tolist() == expected.tolist()
    assert index.ntotal == 200


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf"])
def test_an_index_of_equal_vectors_has_equal_bytes(kind: str) -> None:
    indexes = [build_index(IDS, VECTORS, params(kind=kind)) for _ in range(2)]
    first, second = (faiss.serialize_index(index).tobytes() for index in indexes)
    assert first == second


def test_an_ivf_index_of_few_movies_has_fewer_lists() -> None:
    id_index = build_index(IDS, VECTORS, params(kind="ivf", nlist=64, nprobe=9))
    index = faiss.downcast_index(id_index.index)
    assert (index.nlist, index.nprobe) == (200 // 39, 200 // 39)
    id_index = build_index(IDS[:3], VECTORS[:3], params(kind="ivf"))
    assert faiss.downcast_index(id_index.index).nlist == 1


def test_faiss_gets_its_own_parameters() -> None:
    hnsw = build_index(IDS, VECTORS, params(kind="hnsw", efSearch=77))
    graph = faiss.downcast_index(hnsw.index).hnsw
    assert (graph.efSearch, graph.nb_neighbors(1)) == (77, 16)
    ivf = build_index(IDS, VECTORS, params(kind="ivf", nprobe=2))
    assert faiss.downcast_index(ivf.index).nprobe == 2
