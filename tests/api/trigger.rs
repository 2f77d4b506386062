//! Tests of trigger.
