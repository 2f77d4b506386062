//! The loop of the holder: count what is due or asked for, publish it.
