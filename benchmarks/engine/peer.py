"""The peers' side of worker.py: `peer.py faiss|hnswlib|usearch` answers JSON lines on standard input.

Times are processor times of this process, which runs one thread: what other processes take does not count.
"""

import json
import pathlib
import sys
import time

import numpy as np


def memory():
    """Anonymous and file-backed resident bytes of this process."""
    fields = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return {
        "anonymous": int(fields["RssAnon"].split()[0]) * 1024,
        "file": int(fields["RssFile"].split()[0]) * 1024,
    }


def read_rows(path, dimension, count=None):
    rows = np.fromfile(path, np.float32, count=-1 if count is None else count * dimension)
    return rows.reshape(-1, dimension)


def repeat(search, seconds):
    """Calls `search` until `seconds` of processor time have passed; processor seconds a call."""
    calls, start = 0, time.process_time()
    while True:
        search()
        calls += 1
        elapsed = time.process_time() - start
        if elapsed >= seconds:
            return elapsed / calls


class Peer:
    """What all peers share: loading queries, building into a file, timing."""

    def queries(self, path, dimension):
        self.dimension = dimension
        self.rows = read_rows(path, dimension)
        return {"queries": len(self.rows)}

    def build(self, variant, base, count, dimension, out):
        vectors = read_rows(base, dimension, count)
        wall, cpu = time.perf_counter(), time.process_time()
        index = self.make(variant, vectors)
        seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        self.save(index, out)
        pathlib.Path(out).with_suffix(".json").write_text(json.dumps(seconds))
        return seconds

    def open(self, path):
        before = memory()["anonymous"]
        self.index = self.load(path)
        built = json.loads(pathlib.Path(path).with_suffix(".json").read_text())
        return {"bytes": memory()["anonymous"] - before, "build": built}

    def search(self, batch, k, ids=False, limit=None):
        """All queries once, `batch` at a time: seconds, and the rows found when asked for."""
        rows = self.rows[:limit]
        found, start = [], time.process_time()
        for first in range(0, len(rows), batch):
            found.append(self.find(rows[first : first + batch], k))
        seconds = time.process_time() - start
        answer = {"seconds": seconds, "queries": len(rows)}
        if ids:
            answer["ids"] = np.vstack(found).tolist()
        return answer


class Faiss(Peer):
    def __init__(self):
        import faiss

        self.faiss = faiss

    def hello(self):
        level = self.faiss.SIMDConfig.get_level_name()
        return {"version": self.faiss.__version__, "simd": level}

    # Scan speed

    def scan_load(self, bits, codes, count, dimension, sample):
        """A flat index over the first `count` random 32-byte codes, with codebooks learnt from `sample`."""
        faiss, sub_quantizers = self.faiss, 256 // bits
        plain = faiss.IndexPQ(dimension, sub_quantizers, bits, faiss.METRIC_INNER_PRODUCT)
        plain.train(read_rows(sample, dimension, 20_000))
        faiss.copy_array_to_vector(np.fromfile(codes, np.uint8, count * 32), plain.codes)
        plain.ntotal = count
        self.scanned = faiss.IndexPQFastScan(plain) if bits == 4 else plain
        self.plain = plain
        return {}

    def scan(self, batch, k, seconds, implem=0, qbs=0):
        """Seconds a search of `batch` queries, tables and top-k included."""
        faiss, index = self.faiss, self.scanned
        if isinstance(index, faiss.IndexPQFastScan):
            index.implem, index.qbs = implem, qbs
        rows = np.ascontiguousarray(self.rows[:batch])
        distances, labels = np.empty((batch, k), np.float32), np.empty((batch, k), np.int64)
        arguments = (batch, faiss.swig_ptr(rows), k, faiss.swig_ptr(distances), faiss.swig_ptr(labels))
        # The plain call, without the checks of the Python wrapper.
        search = lambda: index.search_c(*arguments)
        return {"seconds": repeat(search, seconds)}

    # Retrieval

    def make(self, variant, vectors):
        """`variant` is a factory string, with `,Refine(SQfp16)` handled here so that both halves score by IP."""
        faiss, dimension = self.faiss, vectors.shape[1]
        base, refine, _ = variant.partition(",Refine(SQfp16)")
        index = faiss.index_factory(dimension, base, faiss.METRIC_INNER_PRODUCT)
        if refine:
            store = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
            index = faiss.IndexRefine(index, store)
        index.train(vectors[: min(len(vectors), 262_144)])
        index.add(vectors)
        return index

    def save(self, index, out):
        self.faiss.write_index(index, out)

    def load(self, path):
        return self.faiss.read_index(path)

    def set(self, probes, k_factor=None):
        self.faiss.extract_index_ivf(self.index).nprobe = probes
        if k_factor is not None:
            self.index.k_factor = k_factor
        return {}

    def find(self, rows, k):
        faiss, count = self.faiss, len(rows)
        distances, labels = np.empty((count, k), np.float32), np.empty((count, k), np.int64)
        self.index.search_c(count, faiss.swig_ptr(rows), k, faiss.swig_ptr(distances), faiss.swig_ptr(labels))
        return labels


class Hnswlib(Peer):
    def __init__(self):
        import hnswlib

        self.hnswlib = hnswlib

    def hello(self):
        return {"version": getattr(self.hnswlib, "__version__", "0.8.0")}

    def make(self, variant, vectors):
        index = self.hnswlib.Index(space="ip", dim=vectors.shape[1])
        index.init_index(max_elements=len(vectors), M=int(variant.removeprefix("M")), ef_construction=200)
        index.add_items(vectors, num_threads=1)
        return index

    def save(self, index, out):
        index.save_index(out)

    def load(self, path):
        index = self.hnswlib.Index(space="ip", dim=self.dimension)
        index.load_index(path)
        index.set_num_threads(1)
        return index

    def set(self, ef):
        self.index.set_ef(ef)
        return {}

    def find(self, rows, k):
        return self.index.knn_query(rows, k=k, num_threads=1)[0].astype(np.int64)


class Usearch(Peer):
    def __init__(self):
        import usearch
        import usearch.index

        self.usearch = usearch

    def hello(self):
        return {"version": self.usearch.__version__}

    def make(self, variant, vectors):
        index = self.usearch.index.Index(ndim=vectors.shape[1], dtype=variant)
        index.add(np.arange(len(vectors)), vectors, threads=1)
        return index

    def save(self, index, out):
        index.save(out)

    def load(self, path):
        return self.usearch.index.Index.restore(path)

    def set(self, ef):
        self.index.expansion_search = ef
        return {}

    def find(self, rows, k):
        return np.asarray(self.index.search(rows, k, threads=1).keys, np.int64).reshape(len(rows), k)


def main():
    engine = {"faiss": Faiss, "hnswlib": Hnswlib, "usearch": Usearch}[sys.argv[1]]()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(engine, request.pop("op"))(**request)
        except Exception as error:  # the driver decides what a failed engine means
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
