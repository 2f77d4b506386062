//! Everything on temporary directories: what `rowcount demo` shows and what the tests run on.
