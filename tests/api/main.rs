//! Every test that goes through a front door, in one binary: real PostgreSQL, real Redis, real processes.

mod board;
mod cli;
mod config;
mod counting;
mod demo;
mod lease;
mod lease_protocol;
mod ops;
mod telemetry;
