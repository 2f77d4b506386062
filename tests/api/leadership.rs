//! Tests of leadership.
