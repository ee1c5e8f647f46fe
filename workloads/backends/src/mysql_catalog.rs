//! The catalog on `MySQL` or `MariaDB`: the same SQL and migrations as on `SQLite`.
