//! Tests of outages.
