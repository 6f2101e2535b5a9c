//! Starts the threads of a node and joins them.
