//! Who may count.
