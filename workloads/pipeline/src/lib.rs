//! The flows: ingest, search, recognise, train, delete, written once over the ports.
