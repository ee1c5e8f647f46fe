//! The four ports (image store, queue, catalog, cache) and their embedded adapters.
