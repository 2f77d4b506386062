//! Instruments, one struct a subject, made from one meter.

pub mod lease;
