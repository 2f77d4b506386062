//! How rows are counted: the only module that talks to PostgreSQL.
