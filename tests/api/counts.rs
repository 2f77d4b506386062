//! Tests of counts.
