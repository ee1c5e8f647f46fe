//! The cache on Redis: standalone, Sentinel, Cluster.
