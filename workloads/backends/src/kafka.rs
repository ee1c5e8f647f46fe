//! The queue on Kafka.
