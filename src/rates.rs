//! What the request load asks of the database.

pub mod prometheus;
pub mod request;
