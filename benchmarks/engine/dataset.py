"""Makes the vectors that every engine gets, once, from the embeddings.

Steps: hold out whole images as queries (a query's other views are not in the index either); learn an
uncentred PCA on the rest and project to DIMENSION; interpolate between near neighbours of the same label
until there are COUNT vectors; normalise; shuffle; find the exact neighbours of the queries.

Interpolation happens after the projection. Projection is linear, so this gives the vectors that interpolating
the embeddings and projecting them afterwards would give, up to their length, and lengths are normalised.
"""

import argparse
import json
import pathlib
import time

import faiss
import numpy as np

NEIGHBOURS = 16
TRUTH = 100


def log(message):
    print(f"[{time.strftime('%H:%M:%S')}] {message}", flush=True)


def normalise(rows):
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows


def load_embeddings(folder):
    """Embeddings as f16 rows, and image number and label of each row."""
    about = json.loads((folder / "embeddings.json").read_text())
    rows = np.memmap(folder / "embeddings.f16", np.float16, "r").reshape(-1, about["dimension"])
    views, labels = about["views"], np.array(about["labels"])
    if len(rows) != views * len(labels):
        raise SystemExit(f"error: {folder} holds {len(rows)} of {views * len(labels)} rows: embed the rest first")
    return about, rows, np.repeat(np.arange(len(labels)), views), np.repeat(labels, views)


def learn_projection(rows, dimension, chunk=8192):
    """The leading eigenvectors of the second moment (uncentred PCA): D x dimension, and the share of energy kept."""
    moment = np.zeros((rows.shape[1], rows.shape[1]), np.float64)
    for start in range(0, len(rows), chunk):
        block = rows[start : start + chunk].astype(np.float32)
        moment += block.T @ block
    values, vectors = np.linalg.eigh(moment)
    return vectors[:, ::-1][:, :dimension].astype(np.float32), float(values[::-1][:dimension].sum() / values.sum())


def project(rows, projection, chunk=8192):
    return np.vstack(
        [rows[start : start + chunk].astype(np.float32) @ projection for start in range(0, len(rows), chunk)]
    )


def near_neighbours(vectors, labels):
    """Row numbers of the nearest neighbours inside the row's label, itself left out: N x NEIGHBOURS."""
    unit = normalise(vectors.copy())
    neighbours = np.empty((len(vectors), NEIGHBOURS), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        found = exact_search(unit[members], unit[members], NEIGHBOURS + 1)[1]
        for row, candidates in zip(members, found):
            others = members[candidates]
            neighbours[row] = others[others != row][:NEIGHBOURS]
    return neighbours


def exact_search(base, queries, k):
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(np.ascontiguousarray(base))
    scores, rows = index.search(np.ascontiguousarray(queries), k)
    return scores, rows


def interpolate(vectors, neighbours, count, random):
    """Points on the segments between a row and one of its neighbours, 10 to 90 % of the way."""
    out = np.empty((count, vectors.shape[1]), np.float32)
    for start in range(0, count, 65536):
        stop = min(start + 65536, count)
        parents = random.integers(0, len(vectors), stop - start)
        others = neighbours[parents, random.integers(0, NEIGHBOURS, stop - start)]
        weight = random.uniform(0.1, 0.9, (stop - start, 1)).astype(np.float32)
        out[start:stop] = (1 - weight) * vectors[parents] + weight * vectors[others]
    return out


def build(arguments):
    about, rows, image, label = load_embeddings(arguments.embeddings)
    random = np.random.default_rng(arguments.seed)
    images = len(about["labels"])
    held_out = random.choice(images, max(1, arguments.queries // about["views"]), replace=False)
    is_query = np.isin(image, held_out)
    log(f"{len(rows)} embeddings of {images} images; {is_query.sum()} views of {len(held_out)} images held out")

    projection, energy = learn_projection(rows[~is_query], arguments.dimension)
    vectors = project(rows, projection)
    log(f"projected {about['dimension']} -> {arguments.dimension} dimensions, {energy:.4f} of the energy kept")

    base, queries = vectors[~is_query], normalise(vectors[is_query].copy())
    neighbours = near_neighbours(base, label[~is_query])
    log("found near neighbours")
    extra = max(0, arguments.count - len(base))
    everything = np.vstack([base, interpolate(base, neighbours, extra, random)])[: arguments.count]
    normalise(everything)
    everything = everything[random.permutation(len(everything))]
    log(f"{len(everything)} vectors, {extra} of them interpolated")

    scores, truth = exact_search(everything, queries, TRUTH)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    everything.tofile(out / "base.f32")
    queries.tofile(out / "queries.f32")
    truth.astype(np.int32).tofile(out / "truth.i32")
    scores.astype(np.float32).tofile(out / "truth.f32")
    description = {
        "model": about["model"],
        "digest": about["digest"],
        "images": images,
        "embedded": len(rows),
        "embedding_dimension": about["dimension"],
        "dimension": arguments.dimension,
        "energy": energy,
        "count": len(everything),
        "interpolated": extra,
        "queries": len(queries),
        "truth": TRUTH,
        "seed": arguments.seed,
    }
    # Written last: its presence says that the other files are whole.
    (out / "dataset.json").write_text(json.dumps(description, indent=2))
    log(f"wrote {out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--embeddings", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=20260101)
    build(parser.parse_args())


if __name__ == "__main__":
    main()
