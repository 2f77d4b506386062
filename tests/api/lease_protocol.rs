//! Tests of lease_protocol.
