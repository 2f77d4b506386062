//! One stop token: a signal cancels it, a second one ends the process at once.
