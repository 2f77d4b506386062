//! Everything on temporary directories: private servers, a registry-shaped database, instances, a live table.

pub mod postgres;
pub mod redis;
pub mod server;
