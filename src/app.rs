//! The service: build, bind, spawn, wait, stop, in that order.
