//! Builds the providers of logs, traces and metrics; flushes them when its guard is dropped.
