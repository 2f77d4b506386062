//! Tests of foreign_clients.
