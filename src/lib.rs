//! Counts the rows of a container registry's metadata database from exactly one instance of a fleet.
//!
//! Modules in the order in which they may use each other, lowest first; `tests/api/layers.rs` holds them to it.

pub mod catalog;
pub mod claim;
pub mod clock;
pub mod collection;
pub mod failure;
pub mod follow;
pub mod history;
pub mod lease_protocol;
pub mod query;
pub mod rates;
pub mod snapshot;

pub mod access;
pub mod credentials;
pub mod incoming;

pub mod config;
pub mod proto;

pub mod memory_store;
pub mod metrics;
pub mod redis_link;
pub mod shutdown;
pub mod telemetry;

pub mod board;
pub mod reload;

pub mod counting;
pub mod lease;
pub mod prometheus;

pub mod estimator;
pub mod observer;

pub mod collector;
pub mod gauge;

pub mod grpc;
pub mod ops;

pub mod app;
pub mod demo;

pub mod cli;
