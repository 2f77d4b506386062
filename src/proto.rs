//! Generated code, and the descriptors it was made from.

pub mod json;

/// The public API.
pub mod v1 {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("rowcount.v1");
}

/// Records on the board.
pub mod board {
    #![allow(clippy::all, missing_docs)]
    tonic::include_proto!("rowcount.board.v1");
}

/// Descriptors of every file above and of what they import, comments included.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rowcount.bin"));
