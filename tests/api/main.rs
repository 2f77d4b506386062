//! Every test that goes through a front door, in one binary: real PostgreSQL, real Redis, real processes.

#![allow(clippy::unwrap_used, reason = "clippy exempts test functions, not what they call")]

mod accuracy;
mod board;
mod bounds;
mod certificates;
mod chaos;
mod cli;
mod collector;
mod config;
mod counting;
mod counts;
mod demo;
mod failures;
mod fleet;
mod followed;
mod foreign_clients;
mod layers;
mod leadership;
mod lease;
mod lease_protocol;
mod load;
mod model;
mod modes;
mod old_server;
mod ops;
mod outages;
mod page;
mod prometheus;
mod proxy;
mod rates;
mod secrets;
mod security;
mod shutdown;
mod streams;
mod telemetry;
mod tools;
mod trigger;
mod validation;
